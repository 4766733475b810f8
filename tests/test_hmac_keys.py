"""The keys of `auth_hmac`: their forms, their rotation, and how a group comes to have them."""

from __future__ import annotations

from pathlib import Path

import pytest

import hmac_reference as reference
from fastvrrp._trailer import Authenticator
from fastvrrp.config.hmac_keys import KeyFault, key_bytes
from hmac_pair import (
    BACKUP,
    ETHERNET,
    MASTER,
    NEW,
    OLD,
    Keyed,
    changed,
    clock_of,
    record,
    refusals,
)
from simulation import GROUP4, IFINDEX, SECOND, Link, Router


@pytest.mark.keywords("vrrp_instance/auth_hmac/active_key")
def test_keys_rotate_without_loss() -> None:
    keyed = Keyed()
    keyed.settle()
    high, low = keyed.authenticators
    steps: list[tuple[Authenticator, list[tuple[int, bytes]], int]] = [
        (low, [(1, OLD), (2, NEW)], 1),
        (high, [(1, OLD), (2, NEW)], 1),
        (high, [(1, OLD), (2, NEW)], 2),
        (low, [(1, OLD), (2, NEW)], 2),
        (low, [(2, NEW)], 2),
        (high, [(2, NEW)], 2),
    ]
    for authenticator, keys, active in steps:
        authenticator.configure(keys, active, window=5 * SECOND)
        keyed.link.run_until(keyed.link.now + 4 * SECOND)
    assert (keyed.high.state(0), keyed.low.state(0)) == (MASTER, BACKUP)
    assert refusals(keyed.low) == refusals(keyed.high) == {}
    assert keyed.next_frame()[-27] == 2


def test_a_key_that_is_not_configured_any_more_is_refused() -> None:
    keyed = Keyed()
    keyed.settle()
    keyed.authenticators[1].configure([(2, NEW)], 2, window=5 * SECOND)
    assert keyed.hear(keyed.next_frame()) == {"HMAC_KEY": 1}


def test_a_change_of_keys_does_not_open_the_way_for_a_replay() -> None:
    keyed = Keyed(window=0)
    keyed.settle()
    frame = keyed.next_frame()
    assert keyed.hear(frame) == {}
    keyed.authenticators[1].configure([(1, OLD), (2, NEW)], 2)
    assert keyed.hear(frame) == {"HMAC_REPLAY": 1}


@pytest.mark.keywords("vrrp_instance/auth_hmac/mode")
def test_three_sweeps_bring_authentication_into_a_group_without_loss() -> None:
    """receive-only, permissive, enforce: as the manual page has it."""
    high, low = Router("high", 1), Router("low", 2)
    link = Link([high, low])
    clock = clock_of(link)
    made: dict[str, Authenticator] = {}
    for router, priority in ((high, 200), (low, 100)):
        router.add(51, priority=priority)
        router.engine.start(0, 0)
    for signs, is_required in ((False, False), (True, False), (True, True)):
        for router in (low, high):
            link.run_until(link.now + 4 * SECOND)
            authenticator = made.setdefault(
                router.name, Authenticator([(1, OLD)], 1, is_required=False, clock=clock)
            )
            authenticator.configure([(1, OLD)], 1, is_required=is_required, window=5 * SECOND)
            configure_anew(router, signs)
            router.engine.authenticate(0, authenticator)
    link.run_until(link.now + 4 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    assert refusals(high) == refusals(low) == {}
    assert record(low)["became_master"] == 0


def configure_anew(router: Router, signs: bool) -> None:
    router.engine.configure(
        0,
        version=3,
        advert_interval=SECOND,
        addresses=bytes((10, 0, 0, 100)),
        group=GROUP4,
        signs=signs,
    )
    mac = bytes((2, 0, 0, 0, 0, router.number))
    router.engine.attach(0, IFINDEX, mac, bytes((10, 0, 0, router.number)))


@pytest.mark.keywords("vrrp_instance/auth_hmac/mode")
def test_permissive_takes_none_but_no_false_trailer() -> None:
    keyed = Keyed()
    keyed.settle()
    keyed.authenticators[1].configure([(1, OLD)], 1, is_required=False, window=5 * SECOND)
    frame = keyed.next_frame()
    assert keyed.hear(changed(frame, len(reference.message_of(frame[ETHERNET:])) - 1)) == {
        "HMAC_DIGEST": 1
    }
    keyed.high.engine.authenticate(0, None)
    configure_anew(keyed.high, signs=False)
    assert len(bare := keyed.next_frame()) == len(frame) - 28
    assert keyed.hear(bare) == {}


def test_keys_that_cannot_be_are_refused() -> None:
    for keys, active, why in (
        ([(1, b"short")], 1, "key 1 has 5 bytes"),
        ([(1, bytes(65))], 1, "key 1 has 65 bytes"),
        ([(0, OLD)], 0, "outside 1-255"),
        ([(1, OLD)], 2, "no key 2"),
    ):
        with pytest.raises(ValueError, match=why):
            Authenticator(keys, active)


@pytest.mark.keywords("vrrp_instance/auth_hmac/key")
def test_the_forms_of_a_key(tmp_path: Path) -> None:
    assert key_bytes("k" * 32) == b"k" * 32
    assert key_bytes("hex:" + "0f" * 64) == b"\x0f" * 64
    file = tmp_path / "key"
    for content, key in (
        (b"t" * 40, b"t" * 40),
        (b"t" * 40 + b"\n", b"t" * 40),
        (b"hex:" + b"aB" * 32 + b"\r\n", b"\xab" * 32),
        (bytes(range(32)), bytes(range(32))),
    ):
        file.write_bytes(content)
        assert key_bytes(f"file:{file}") == key


def test_what_is_wrong_with_a_key_is_said_without_the_key(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret\n")
    for written, why in (
        ("secret", "it has 6 bytes and needs 32 to 64"),
        ("hex:00zz", "not hexadecimal digits"),
        ("hex:" + "00" * 65, "it has 65 bytes"),
        ("file:key", "does not begin with /"),
        (f"file:{tmp_path}/none", "cannot be read: No such file or directory"),
        (f"file:{tmp_path}", "is not a file"),
        (f"file:{tmp_path}/short", f"it has 6 bytes in {tmp_path}/short and needs 32 to 64"),
    ):
        with pytest.raises(KeyFault, match=why) as raised:
            key_bytes(written)
        assert "secret" not in str(raised.value)
        assert "00zz" not in str(raised.value)
