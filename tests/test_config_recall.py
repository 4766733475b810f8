"""A reading that remembers an earlier one finds what a reading that remembers nothing finds."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Collection
from pathlib import Path

import pytest

import config_corpus as corpus
from fastvrrp.config import Reading, read
from fastvrrp.config.recall import Memory

CHECK = " TCP_CHECK {\n connect_port 80\n }\n"


def server(number: int, *, weight: int = 1, more: str = "", real: str = CHECK) -> str:
    return (
        f"virtual_server 10.0.0.{number} 80 {{\n delay_loop 1\n lvs_sched rr\n lvs_method NAT\n"
        f" protocol TCP\n{more}"
        f" real_server 10.1.0.{number} 80 {{\n weight {weight}\n{real} }}\n}}\n"
    )


def outcome(reading: Reading) -> tuple[object, ...]:
    return reading.configuration, reading.complaints, reading.has_insecure_scripts


def recalled(memory: Memory, path: Path, own_namespaces: Collection[str] = ()) -> int:
    """How many virtual servers of a file are not read again; the result is as without a memory."""
    before = {id(each) for each in memory.servers}
    with_memory = read(str(path), "main", own_namespaces, memory)
    assert outcome(with_memory) == outcome(read(str(path), "main", own_namespaces))
    return sum(id(each) in before for each in with_memory.configuration.virtual_servers)


@pytest.mark.parametrize("path", corpus.paths(), ids=lambda path: path.stem)
def test_the_corpus_is_read_as_without_a_memory(path: Path) -> None:
    memory = Memory()
    with contextlib.chdir(corpus.CONFIGS):
        for _ in range(2):
            recalled(memory, Path(path.name))


def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    conf = tmp_path / "lvs.conf"
    memory = Memory()
    conf.write_text("".join(map(server, range(1, 51))))
    assert recalled(memory, conf) == 0
    assert recalled(memory, conf) == 50
    conf.write_text(
        "".join(server(n, weight=7 if n == 25 else 1) for n in range(1, 51)) + server(60)
    )
    assert recalled(memory, conf) == 49
    conf.write_text("! moved by some lines\n\n" + conf.read_text())
    assert recalled(memory, conf) == 51


@pytest.mark.parametrize(
    "context",
    [
        "global_defs {\n checker_log_all_failures\n}\n",
        "global_defs {\n smtp_alert\n}\n",
        "track_file f {\n file /run/f\n}\n",
        "nonsense {\n}\n",
    ],
)
@pytest.mark.parametrize("at_end", [False, True])
def test_all_is_read_again_where_something_else_has_changed(
    tmp_path: Path, context: str, at_end: bool
) -> None:
    conf = tmp_path / "lvs.conf"
    memory = Memory()
    servers = "".join(map(server, range(1, 4)))
    conf.write_text(servers)
    assert recalled(memory, conf) == 0
    conf.write_text(servers + context if at_end else context + servers)
    assert recalled(memory, conf) == 0
    # What is complained of before a virtual server may be said of it.
    assert recalled(memory, conf) == (2 if context.startswith("nonsense") and not at_end else 3)


def test_all_is_read_again_where_the_daemon_is_in_another_network_namespace(
    tmp_path: Path,
) -> None:
    conf = tmp_path / "lvs.conf"
    conf.write_text("".join(map(server, range(1, 4))))
    memory = Memory()
    assert recalled(memory, conf, frozenset({"blue"})) == 0
    assert recalled(memory, conf, frozenset({"blue"})) == 3
    assert recalled(memory, conf, frozenset({"blue", "green"})) == 0
    assert recalled(memory, conf) == 0


@pytest.mark.parametrize(
    "part",
    [
        server(9, more=' quorum_up "/bin/true"\n'),
        server(9, real=" notify_down /bin/false\n" + CHECK),
        server(9, real=" MISC_CHECK {\n misc_path /bin/true\n }\n"),
        server(9, more=" # a comment {\n"),
        server(9, more=" virtualhost $HOST\n").replace("9 80", "9 80", 1),
        server(9, more=" quorum 9\n"),
        server(9, real=CHECK.replace("{\n", "{ ").replace("\n }", " }")),
        server(9).replace("real_server", "include /nowhere\n real_server"),
        "virtual_server_group g {\n 10.2.0.1 80\n}\n" + server(9).replace("10.0.0.9 80", "group g"),
        "virtual_server 10.0.0.9 80\n{\n real_server 10.1.0.9 80 {\n }\n}\n",
    ],
)
def test_what_depends_on_more_than_its_text_is_always_read(tmp_path: Path, part: str) -> None:
    conf = tmp_path / "lvs.conf"
    memory = Memory()
    conf.write_text(server(1) + part + server(2))
    assert recalled(memory, conf) == 0
    assert recalled(memory, conf) == 2


@pytest.mark.parametrize(
    "text",
    [
        server(1) + server(1) + server(2),
        server(1) + "vrrp_instance V {\n" + server(2) + server(3),
        server(1) + "virtual_server 10.0.0.9 80 {\n real_server 10.1.0.1 80 {\n" + server(2),
        server(1) + "vrrp_instance V {\n virtual_ipaddress {\n" + server(2) + "}\n}\n",
        server(1) + "unknown {\n" + server(2) + "}\n" + server(3),
        server(1) + "}\n" + server(2),
        server(1)[:-2],
        server(1).replace("\n", "\r\n") + server(2),
        server(2) + server(1, weight=3).replace("weight 3", "weight 300000"),
        "",
    ],
)
def test_what_was_read_before_hides_no_fault(tmp_path: Path, text: str) -> None:
    conf = tmp_path / "lvs.conf"
    memory = Memory()
    conf.write_text("".join(map(server, range(1, 4))))
    recalled(memory, conf)
    conf.write_text(text)
    recalled(memory, conf)
    recalled(memory, conf)


def test_random_changes_are_read_as_without_a_memory(tmp_path: Path) -> None:
    conf = tmp_path / "lvs.conf"
    memory = Memory()
    chance = random.Random(6)
    lines = "".join(map(server, range(1, 30))).splitlines()
    for _ in range(150):
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(lines))
            kind = chance.randrange(4)
            if kind == 0:
                del lines[at]
            elif kind == 1:
                lines.insert(at, chance.choice(lines))
            elif kind == 2:
                lines[at], lines[at - 1] = lines[at - 1], lines[at]
            else:
                lines = "".join(map(server, range(1, 30))).splitlines()
        conf.write_text("\n".join(lines))
        recalled(memory, conf)


def test_a_file_that_is_included_is_remembered_too(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text(server(1))
    (tmp_path / "two.conf").write_text(server(2))
    conf = tmp_path / "lvs.conf"
    conf.write_text("include one.conf\n" + server(3) + "include two.conf\n")
    memory = Memory()
    assert recalled(memory, conf) == 0
    assert recalled(memory, conf) == 3
    (tmp_path / "two.conf").write_text("global_defs {\n smtp_alert\n}\n" + server(2))
    assert recalled(memory, conf) == 0
