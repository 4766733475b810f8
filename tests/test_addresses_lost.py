"""Virtual addresses that somebody else removes: what becomes of them and of their instances, here
and under keepalived."""

from __future__ import annotations

import pytest

from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, wait_until
from policy_configuration import instance

BOTH = pytest.mark.parametrize("kind", [Keepalived, Fastvrrp])
TRACKED = instance("T", 4, "10.0.0.104/24", excluded="10.0.1.114/24 dev eth1\nfd00::114/64")
UNTRACKED = instance("N", 5, "10.0.0.105/24 no_track\n10.0.0.115/24 no_track")
IPV6 = instance("S", 6, "fe80::106/64\nfd00::106/64")


@BOTH
@pytest.mark.keywords("virtual_ipaddress/no_track")
def test_a_master_resigns_when_somebody_removes_an_address_that_it_tracks(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    daemon = kind(a, TRACKED + UNTRACKED + IPV6).start()
    daemon.wait_log("Entering MASTER STATE", 20.0, count=3)
    wait_until(lambda: a.holds("10.0.0.115"), what="the addresses")
    with Capture(b) as capture:
        for number, (address, link, vrid) in enumerate(
            (
                ("10.0.0.104/24", "eth0", 4),
                ("10.0.1.114/24", "eth1", 4),
                ("fd00::114/64", "eth0", 4),
                ("fd00::106/64", "eth0", 6),
            )
        ):
            heard = len(capture.frames)
            a.ip(f"address del {address} dev {link}")
            daemon.wait_log("Entering MASTER STATE", 20.0, count=4 + number)
            bare = address.partition("/")[0]
            wait_until(lambda bare=bare: a.holds(bare), what=f"{address} back")  # type: ignore[misc]
            capture.wait_for_advert(vrid, priority=0, after=heard)
    assert daemon.entered("T") == ["BACKUP", "MASTER"] * 4
    assert daemon.entered("S") == ["BACKUP", "MASTER"] * 2
    # What is not tracked is missed by nobody, until its instance becomes master again.
    a.ip("address del 10.0.0.105/24 dev eth0")
    a.ip("link set eth0 down")
    daemon.wait_log("(N) Entering FAULT STATE")
    assert daemon.entered("N") == ["BACKUP", "MASTER", "FAULT"]
    assert not a.holds("10.0.0.105")
    a.ip("link set eth0 up")
    wait_until(lambda: a.holds("10.0.0.105"), what="the untracked address back")
    daemon.stop()
    assert not a.holds("10.0.0.104")


@BOTH
def test_a_secondary_address_that_goes_with_its_primary_one_is_lost_too(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = kind(a, instance("T", 4, "10.0.0.104/24")).start()
    wait_until(lambda: a.holds("10.0.0.104"), what="the address")
    a.ip("address add 10.9.9.9/24 dev eth0", "address del 10.0.0.1/24 dev eth0")
    daemon.wait_log("(T) Entering MASTER STATE", count=2)
    wait_until(lambda: a.holds("10.0.0.104"), what="the address back")
    assert daemon.entered("T") == ["BACKUP", "MASTER"] * 2
    daemon.stop()
    assert not a.holds("10.0.0.104")


def test_many_addresses_that_go_at_once_are_one_resignation(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    addresses = [f"10.0.0.{number}" for number in range(100, 150)]
    lines = "\n".join(f"{address}/32" for address in addresses)
    daemon = Fastvrrp(a, instance("T", 4, lines)).start()
    wait_until(lambda: all(map(a.holds, addresses)), what="the addresses")
    # The master that has heard of the first removes the others itself.
    removals = a.folder / "removals"
    removals.write_text("".join(f"address del {each}/32 dev eth0\n" for each in addresses))
    a.run(["ip", "-force", "-batch", str(removals)], check=False)
    daemon.wait_log("(T) Entering MASTER STATE", count=2)
    wait_until(lambda: all(map(a.holds, addresses)), what="the addresses back")
    assert daemon.entered("T")[:4] == ["BACKUP", "MASTER"] * 2
    assert daemon.stop() == 0
