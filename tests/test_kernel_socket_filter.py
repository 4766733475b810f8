"""Filters of sockets: what a program takes comes through the kernel, and nothing else."""

from __future__ import annotations

import socket
import sys

import pytest

from fastvrrp.kernel.socket_filter import (
    DROP,
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    SHIFT_RIGHT,
    TAKE,
    Instruction,
    attach,
    half_of_host,
)


def passing(program: list[Instruction], packets: list[bytes]) -> list[bytes]:
    """The packets that come through."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        attach(ours, program)
        for packet in packets:
            theirs.send(packet)
        ours.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(ours.recv(100))
            except BlockingIOError:
                return heard


@pytest.mark.parametrize(
    ("loads", "value"),
    [
        ([Instruction(LOAD_BYTE, operand=1)], 0x34),
        ([Instruction(LOAD_HALF, operand=0)], 0x1234),
        ([Instruction(LOAD_WORD, operand=0)], 0x12345678),
        ([Instruction(LOAD_WORD, operand=0), Instruction(SHIFT_RIGHT, operand=16)], 0x1234),
    ],
)
def test_a_program_takes_what_is_equal_and_drops_the_rest(
    loads: list[Instruction], value: int
) -> None:
    program = [*loads, Instruction(JUMP_EQUAL, 0, 1, value), TAKE, DROP]
    assert passing(program, [b"\x12\x34\x56\x78", b"\x12\x35\x56\x78", b"\x13\x33\0\0"]) == [
        b"\x12\x34\x56\x78"
    ]


def test_a_half_word_of_the_host_is_read_as_the_filter_reads_it() -> None:
    written = (0x0102).to_bytes(2, sys.byteorder)
    program = [
        Instruction(LOAD_HALF, operand=0),
        Instruction(JUMP_EQUAL, 0, 1, half_of_host(0x0102)),
        TAKE,
        DROP,
    ]
    assert passing(program, [written, written[::-1]]) == [written]


def test_a_program_that_the_kernel_refuses_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match="Invalid argument"):
        attach(ours, [Instruction(LOAD_WORD)])
