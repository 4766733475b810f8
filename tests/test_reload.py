"""Reloads as the user and the neighbours see them, in namespaces of their own."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._table import Segment
from fastvrrp.config import read as reading_of
from fastvrrp.daemon.reading import Digester, Known, News, Reader, ReaderError, read_aside
from fastvrrp.daemon.sealing import digests_of, opened, servers_of
from lab import Capture, Fastvrrp, Keepalived, Laboratory, wait_until

BACKUP, MASTER, FAULT = 1, 2, 3
SECOND = 1_000_000_000


def instance(
    name: str,
    vrid: int,
    *lines: str,
    interface: str = "eth0",
    interval: str = "0.1",
    priority: int = 200,
    addresses: tuple[str, ...] = (),
) -> str:
    body = "\n  ".join(
        (
            f"interface {interface}",
            f"virtual_router_id {vrid}",
            "version 3",
            f"advert_int {interval}",
            f"priority {priority}",
            "garp_master_delay 0",
            *lines,
        )
    )
    virtual = "\n    ".join(addresses or (f"10.0.0.{100 + vrid}/24",))
    return f"vrrp_instance {name} {{\n  {body}\n  virtual_ipaddress {{\n    {virtual}\n  }}\n}}\n"


def records(daemon: Fastvrrp) -> dict[str, dict[str, Any]]:
    """Each virtual router by its name, as another process reads it from the segment."""
    path = daemon.folder / "fastvrrp.state"
    return {router["name"]: router for router in Segment(path)} if path.exists() else {}


def wait_master(daemon: Fastvrrp, *names: str) -> None:
    wait_until(
        lambda: all(records(daemon).get(name, {}).get("state") == MASTER for name in names),
        what=lambda: f"masters:\n{daemon.log()}",
    )


def reload(daemon: Fastvrrp, configuration: str, outcome: str) -> None:
    """Gives a daemon another configuration, and waits for the words on what became of it."""
    before = daemon.log().count(outcome)
    daemon.configure(configuration)
    daemon.signal(signal.SIGHUP)
    daemon.wait_log(outcome, count=before + 1)


def pair(lab: Laboratory, configuration: str) -> tuple[Fastvrrp, Keepalived]:
    """Our master, and keepalived that backs it up with the same configuration."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, configuration).start()
    wait_until(lambda: any(each["state"] == MASTER for each in records(daemon).values()))
    other = Keepalived(b, configuration.replace("priority 200", "priority 100")).start()
    other.wait_log("Entering BACKUP STATE")
    return daemon, other


def wait_adverts(capture: Capture, vrid: int, count: int = 5) -> None:
    for _ in range(count):
        capture.wait_for_advert(vrid, after=len(capture.frames))


def test_an_unchanged_file_changes_nothing(lab: Laboratory) -> None:
    conf = instance("VI_1", 1) + instance("VI_2", 2, "use_vmac")
    daemon, other = pair(lab, conf)
    wait_master(daemon, "VI_1", "VI_2")
    wait_until(lambda: daemon.router.holds("10.0.0.102"), what="the addresses")
    before = records(daemon)
    addresses, links = daemon.router.addresses(), daemon.router.links()
    with Capture(other.router) as capture:
        wait_adverts(capture, 1)
        reload(daemon, conf, "0 added, 0 removed, 0 changed, 2 unchanged")
        wait_adverts(capture, 1)
        announced = capture.dissect("arp.isgratuitous")
    after = records(daemon)
    for name in ("VI_1", "VI_2"):
        assert after[name]["changed_at"] == before[name]["changed_at"]
        assert after[name]["announcements_sent"] == before[name]["announcements_sent"]
    assert (daemon.router.addresses(), daemon.router.links()) == (addresses, links)
    assert announced == []
    assert {advert.source for advert in capture.adverts()} == {"10.0.0.1"}
    assert "Entering MASTER STATE" not in other.log()
    assert daemon.stop() == 0


def test_one_is_added_and_one_is_removed_while_another_goes_on(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    keeps, goes, comes = (instance(f"VI_{i}", i) for i in (1, 2, 3))
    daemon = Fastvrrp(a, keeps + goes).start()
    wait_master(daemon, "VI_1", "VI_2")
    wait_until(lambda: a.holds("10.0.0.102"), what="the address")
    begun = records(daemon)["VI_1"]["changed_at"]
    with Capture(b) as capture:
        reload(daemon, keeps + comes, "1 added, 1 removed, 0 changed, 1 unchanged")
        capture.wait_for_advert(2, priority=0)
        wait_master(daemon, "VI_3")
        wait_until(lambda: a.holds("10.0.0.103"), what="the new address")
    wait_until(lambda: not a.holds("10.0.0.102"), what="the old address gone")
    assert a.holds("10.0.0.101")
    wait_until(lambda: set(records(daemon)) == {"VI_1", "VI_3"}, what="the record given back")
    assert records(daemon)["VI_1"]["changed_at"] == begun
    # What is given back is used again, and grows beyond what there was at the start.
    many = "".join(instance(f"M_{i}", i) for i in range(10, 40))
    reload(daemon, keeps + many, "30 added, 1 removed, 0 changed, 1 unchanged")
    wait_master(daemon, *(f"M_{i}" for i in range(10, 40)))
    wait_until(lambda: a.holds("10.0.0.139"), what="the last address")
    assert records(daemon)["VI_1"]["changed_at"] == begun
    assert daemon.stop() == 0
    assert not a.holds("10.0.0.101")
    assert not a.holds("10.0.0.139")
    assert "Traceback" not in daemon.log()


def test_a_change_of_everything_leaves_the_master_one(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1, addresses=("10.0.0.101/24", "10.0.0.102/24"))).start()
    wait_master(daemon, "VI_1")
    wait_until(lambda: a.holds("10.0.0.102"), what="the addresses")
    begun = records(daemon)["VI_1"]["changed_at"]
    changed = instance(
        "renamed",
        1,
        "nopreempt",
        interval="0.2",
        priority=150,
        addresses=("10.0.0.102/24", "10.0.0.103/24"),
    )
    with Capture(b) as capture:
        reload(daemon, changed, "0 added, 0 removed, 1 changed, 0 unchanged")
        capture.wait_for_advert(1, priority=150)
        wait_adverts(capture, 1)
        wait_until(lambda: a.holds("10.0.0.103"), what="the new address")
    wait_until(lambda: not a.holds("10.0.0.101"), what="the old address gone")
    assert a.holds("10.0.0.102")
    last = capture.adverts()[-1]
    assert last.addresses == ("10.0.0.102", "10.0.0.103")
    assert last.interval == SECOND // 5
    assert 0 not in {advert.priority for advert in capture.adverts()}
    (name,) = records(daemon)
    assert name == "renamed"
    assert records(daemon)[name]["changed_at"] == begun
    daemon.wait_log("(renamed) priority: 200 -> 150")
    assert daemon.stop() == 0
    assert not a.holds("10.0.0.102")
    assert not a.holds("10.0.0.103")


def test_a_vmac_comes_is_renamed_and_goes_under_a_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = a.links()
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    wait_until(lambda: "eth0 10.0.0.101/24" in a.addresses(), what="the address")
    begun = records(daemon)["VI_1"]["changed_at"]
    one_changed = "0 added, 0 removed, 1 changed, 0 unchanged"
    with Capture(b) as capture:
        reload(daemon, instance("VI_1", 1, "use_vmac"), one_changed)
        wait_until(lambda: "vrrp.1 10.0.0.101/24" in a.addresses(), what="it on the VMAC")
        assert "eth0 10.0.0.101/24" not in a.addresses()
        reload(daemon, instance("VI_1", 1, "use_vmac other"), one_changed)
        wait_until(lambda: "other 10.0.0.101/24" in a.addresses(), what="it on the other")
        assert "vrrp.1" not in a.links()
        reload(daemon, instance("VI_1", 1), one_changed)
        wait_until(lambda: "eth0 10.0.0.101/24" in a.addresses(), what="it on the interface")
        wait_until(lambda: a.links() == before, what="the VMAC gone")
        wait_adverts(capture, 1)
    assert 0 not in {advert.priority for advert in capture.adverts()}
    assert records(daemon)["VI_1"]["changed_at"] == begun
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


def test_one_with_a_vmac_is_added_and_removed(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = a.links()
    keeps, comes = instance("VI_1", 1), instance("VI_2", 2, "use_vmac")
    daemon = Fastvrrp(a, keeps).start()
    wait_master(daemon, "VI_1")
    reload(daemon, keeps + comes, "1 added, 0 removed, 0 changed, 1 unchanged")
    wait_until(lambda: "vrrp.2 10.0.0.102/24" in a.addresses(), what="the address")
    assert "(VI_2) Entering FAULT STATE" not in daemon.log()
    reload(daemon, keeps, "0 added, 1 removed, 0 changed, 1 unchanged")
    wait_until(lambda: a.links() == before, what="the VMAC gone")
    assert daemon.stop() == 0


def test_an_owner_removes_at_the_end_what_it_has_added_and_nothing_else(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = a.addresses()
    own, added, more = "10.0.0.1/24", "10.0.0.101/24", "10.0.0.102/24"
    daemon = Fastvrrp(a, instance("VI_1", 1, priority=255, addresses=(own, added))).start()
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")
    changed = instance("VI_1", 1, priority=255, addresses=(own, added, more))
    reload(daemon, changed, "0 added, 0 removed, 1 changed, 0 unchanged")
    wait_until(lambda: a.holds("10.0.0.102"), what="the new address")
    assert daemon.stop() == 0
    assert a.addresses() == before


@pytest.mark.keywords("vrrp_instance/garp_master_refresh")
def test_refreshing_ends_and_begins_under_a_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    plain = instance("VI_1", 1)
    refreshed = instance("VI_1", 1, "garp_master_refresh 1")
    one_changed = "0 added, 0 removed, 1 changed, 0 unchanged"
    daemon = Fastvrrp(a, plain).start()
    wait_master(daemon, "VI_1")
    reload(daemon, refreshed, one_changed)

    def sent() -> int:
        return int(records(daemon)["VI_1"]["announcements_sent"])

    wait_until(lambda: sent() > 11, what="two refreshes after two sets of five")
    reload(daemon, plain, one_changed)
    wait_until(lambda: sent() >= 17, what="a third set of five")
    assert daemon.stop() == 0


def test_addresses_that_change_hands_stay(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    one, two = ("10.0.0.101/24",), ("10.0.0.102/24",)
    daemon = Fastvrrp(a, instance("A", 1, addresses=one) + instance("B", 2, addresses=two)).start()
    wait_master(daemon, "A", "B")
    wait_until(lambda: a.holds("10.0.0.101") and a.holds("10.0.0.102"), what="the addresses")
    swapped = instance("A", 1, addresses=two) + instance("B", 2, addresses=one)
    reload(daemon, swapped, "0 added, 0 removed, 2 changed, 0 unchanged")
    wait_until(lambda: a.holds("10.0.0.101") and a.holds("10.0.0.102"), what="the addresses")
    # A's goes with its instance, and so it was A that had it.
    reload(daemon, instance("B", 2, addresses=one), "0 added, 1 removed, 0 changed, 1 unchanged")
    wait_until(lambda: not a.holds("10.0.0.102"), what="A's address gone")
    assert a.holds("10.0.0.101")
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (instance("VI_2", 256), "error: virtual_router_id 256 is outside 1-255"),
        ("vrrp_instance VI_2 {\n", "error: "),
    ],
)
def test_an_error_refuses_the_reload_as_a_whole(lab: Laboratory, broken: str, said: str) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    before = records(daemon)["VI_1"]
    reload(daemon, instance("VI_1", 1, priority=50) + broken, "The configuration is not reloaded")
    assert said in daemon.log()
    after = records(daemon)
    assert set(after) == {"VI_1"}
    assert (after["VI_1"]["priority"], after["VI_1"]["changed_at"]) == (200, before["changed_at"])
    reload(daemon, instance("VI_1", 1), "0 added, 0 removed, 0 changed, 1 unchanged")
    assert daemon.stop() == 0


def test_a_file_that_is_gone_refuses_the_reload(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    daemon.configuration_file.unlink()
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("The configuration is not reloaded")
    assert records(daemon)["VI_1"]["state"] == MASTER
    assert daemon.stop() == 0


def hold_reader(daemon: Fastvrrp) -> int:
    """Starts a reload whose reader reads what is written to the descriptor that is returned, and
    waits until that is closed."""
    pipe = daemon.configuration_file
    pipe.unlink()
    os.mkfifo(pipe)
    daemon.signal(signal.SIGHUP)
    held = wait_until(lambda: writing_end(pipe), what="the reader")
    pipe.unlink()
    return held


def writing_end(pipe: Path) -> int:
    """A descriptor of a pipe that somebody reads; 0 where nobody does."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return 0


def reader_of(daemon: Fastvrrp) -> int:
    """The process that reads for a daemon; 0 where there is none."""
    return daemon.find_child("fastvrrp.daemon.reader") or 0


def test_a_second_signal_reloads_once_more_after_the_first(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    held = hold_reader(daemon)
    daemon.configure(instance("VI_1", 1) + instance("VI_2", 2))
    daemon.signal(signal.SIGHUP)
    daemon.signal(signal.SIGHUP)
    os.write(held, instance("VI_1", 1).encode())
    os.close(held)
    daemon.wait_log("0 added, 0 removed, 0 changed, 1 unchanged")
    daemon.wait_log("1 added, 0 removed, 0 changed, 1 unchanged")
    wait_master(daemon, "VI_2")
    assert daemon.log().count("Reloaded ") == 2
    assert daemon.stop() == 0


def test_a_reader_that_dies_changes_nothing(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    held = hold_reader(daemon)
    os.kill(reader_of(daemon), signal.SIGKILL)
    os.close(held)
    daemon.wait_log("not reloaded: the process that reads it was killed by signal 9")
    assert set(records(daemon)) == {"VI_1"}
    assert daemon.stop() == 0


def test_a_daemon_that_stops_ends_its_reader(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    held = hold_reader(daemon)
    reader = reader_of(daemon)
    assert reader
    assert daemon.stop() == 0
    os.close(held)
    assert not Path(f"/proc/{reader}").exists()
    assert not a.holds("10.0.0.101")
    assert "Traceback" not in daemon.log()


def test_a_reload_while_an_interface_is_missing(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    there, later = instance("VI_1", 1), instance("VI_2", 2, "use_vmac", interface="later")
    daemon = Fastvrrp(a, there + later).start()
    daemon.wait_log("(VI_2) interface later does not exist")
    more = instance("VI_3", 3, interface="later")
    changed = later.replace("priority 200", "priority 199")
    reload(daemon, there + changed + more, "1 added, 0 removed, 1 changed, 1 unchanged")
    daemon.wait_log("(VI_3) interface later does not exist")
    a.ip("link add later type veth peer name other", "link set other up", "link set later up")
    a.ip("address add 10.0.1.1/24 dev later")
    wait_master(daemon, "VI_1", "VI_2", "VI_3")
    wait_until(lambda: "vrrp.2 10.0.0.102/24" in a.addresses(), what="the address on the VMAC")
    reload(daemon, there, "0 added, 2 removed, 0 changed, 1 unchanged")
    wait_until(lambda: "vrrp.2" not in a.links(), what="the VMAC gone")
    assert daemon.stop() == 0


def test_a_backup_keeps_its_master_through_a_change(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    Keepalived(b, instance("VI_1", 1, interval="1")).start().wait_log("Entering MASTER STATE")
    with Capture(b) as capture:
        daemon = Fastvrrp(a, instance("VI_1", 1, interval="1", priority=100)).start()
        daemon.wait_log("Entering BACKUP STATE")
        wait_until(lambda: records(daemon)["VI_1"]["master_priority"] == 200, what="an advert")
        # 1 s was learned from the master, and it is that by which the backup goes.
        changed = instance("VI_1", 1, interval="0.1", priority=90)
        reload(daemon, changed, "0 added, 0 removed, 1 changed, 0 unchanged")
        wait_adverts(capture, 1, 2)
    record = records(daemon)["VI_1"]
    assert (record["state"], record["priority"], record["master_interval"]) == (BACKUP, 90, SECOND)
    assert {advert.source for advert in capture.adverts()} == {"10.0.0.2"}


def test_a_lower_priority_gives_the_master_away(lab: Laboratory) -> None:
    daemon, other = pair(lab, instance("VI_1", 1))
    wait_master(daemon, "VI_1")
    reload(daemon, instance("VI_1", 1, priority=50), "1 changed")
    other.wait_log("Entering MASTER STATE")
    wait_until(lambda: not daemon.router.holds("10.0.0.101"), what="the address gone")


def test_sockets_for_what_is_new_are_opened(lab: Laboratory) -> None:
    """IPv6, unicast and AH come by a reload; the neighbour has them from the start."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    six = instance("VI_6", 6, addresses=("fe80::100/64",))
    unicast = "unicast_src_ip {}\n unicast_peer {{\n {}\n }}"
    ah = instance("VI_7", 7, "authentication {\n auth_type AH\n auth_pass abc\n }", interval="1")
    ah = ah.replace("version 3", "version 2")
    ours = instance("VI_8", 8, unicast.format("10.0.0.1", "10.0.0.2"))
    theirs = instance("VI_8", 8, unicast.format("10.0.0.2", "10.0.0.1"))
    Fastvrrp(b, six + ah + theirs).start().wait_log("(VI_7) Entering MASTER STATE")
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    low = (six + ah + ours).replace("priority 200", "priority 100")
    reload(daemon, instance("VI_1", 1) + low, "3 added")
    wait_until(
        lambda: all(records(daemon)[n]["adverts_received"] > 2 for n in ("VI_6", "VI_7", "VI_8")),
        what=lambda: f"adverts heard: {records(daemon)}",
    )
    assert {records(daemon)[name]["state"] for name in ("VI_6", "VI_7", "VI_8")} == {BACKUP}


def test_a_thousand_go_on_while_one_comes_and_one_goes(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=4)
    total = 4 * 255

    def configuration(skipped: int) -> str:
        return "".join(
            instance(
                f"V{link}_{vrid}",
                vrid,
                interface=f"eth{link}",
                interval="1",
                addresses=(f"10.100.{link}.{vrid}/32",),
            )
            for link in range(4)
            for vrid in range(1, 256)
            if link * 255 + vrid != skipped
        )

    daemon = Fastvrrp(a, configuration(1)).start()
    other = Fastvrrp(b, configuration(1).replace("priority 200", "priority 100")).start()

    def masters(of: Fastvrrp) -> int:
        return sum(record["state"] == MASTER for record in records(of).values())

    wait_until(lambda: (masters(daemon), masters(other)) == (total - 1, 0), 30, what="masters")
    other.wait_log("Startup complete")
    before = {name: record["changed_at"] for name, record in records(other).items()}
    outcome = f"1 added, 1 removed, 0 changed, {total - 2} unchanged"
    reload(daemon, configuration(total), outcome)
    wait_master(daemon, "V0_1")
    after = {name: record["changed_at"] for name, record in records(other).items()}
    gone = f"V3_{255}"
    assert {name for name in before if before[name] != after[name]} <= {gone}
    assert masters(daemon) == total - 1
    assert daemon.stop() == 0


def test_a_reader_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    pipe = tmp_path / "vrrp.conf"
    os.mkfifo(pipe)

    async def read() -> News | ReaderError:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[News | ReaderError] = loop.create_future()
        reader = Reader(loop, str(pipe), None, Known(b""), end.set_result, time_limit=0.2)
        found = await end
        while Path(f"/proc/{reader.pid}").exists():
            await asyncio.sleep(0.01)
        return found

    assert str(asyncio.run(read())) == "it was not read in 0.2 s"


def test_only_what_is_different_comes_back(tmp_path: Path) -> None:
    conf = tmp_path / "vrrp.conf"
    conf.write_text("".join(instance(f"VI_{i}", i) for i in range(1, 101)))
    complaints: list[str] = []
    first = read_aside(str(conf), None, complaints.append)
    assert gc.isenabled()
    assert (len(first.configuration.virtual_routers), complaints) == (100, [])
    digester = Digester()
    digests = [digester.digest(model) for model in first.configuration.virtual_routers]
    assert b"".join(digests) == first.digests
    conf.write_text(
        "".join(instance(f"VI_{i}", i, priority=7 if i == 50 else 200) for i in range(2, 102))
    )

    async def read() -> News | ReaderError:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[News | ReaderError] = loop.create_future()
        Reader(loop, str(conf), None, Known(first.digests), end.set_result)
        return await end

    found = asyncio.run(read())
    assert isinstance(found, News)
    assert sorted(found.gone) == [0, 49]
    assert [model.name for model, _ in found.routers] == ["VI_50", "VI_101"]
    assert found.summary is not None
    assert found.summary.routers == 100


def test_a_reading_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    """A start has switched it off, until everything has begun."""
    conf = tmp_path / "vrrp.conf"
    conf.write_text(instance("VI_1", 1))
    gc.disable()
    try:
        read_aside(str(conf), None, lambda _: None)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_only_virtual_servers_that_are_different_come_back(tmp_path: Path) -> None:
    conf = tmp_path / "lvs.conf"

    def write(weights: dict[int, int]) -> None:
        conf.write_text(
            "".join(
                f"virtual_server 10.0.0.{n} 80 {{\n delay_loop 1\n lvs_sched rr\n lvs_method DR\n"
                f" protocol TCP\n real_server 10.1.0.{n} 80 {{\n weight {weight}\n }}\n}}\n"
                for n, weight in weights.items()
            )
        )

    write(dict.fromkeys(range(1, 100), 1))
    complaints: list[str] = []
    first = read_aside(str(conf), None, complaints.append)
    assert complaints == []
    assert len(servers_of(first.configuration)) == 99
    write({1: 1, 100: 2, **dict.fromkeys(range(99, 1, -1), 1), 50: 7})

    async def read() -> News | ReaderError:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[News | ReaderError] = loop.create_future()
        known = Known(first.digests, digests_of(first.configuration))
        Reader(loop, str(conf), None, known, end.set_result)
        return await end

    found = asyncio.run(read())
    assert isinstance(found, News)
    assert [opened(each).real_servers[0].weight for each in found.servers] == [2, 7]
    after = [opened(each) for each in servers_of(found.configuration(first.configuration))]
    assert after == list(reading_of(str(conf)).configuration.virtual_servers)


def test_what_is_removed_while_its_addresses_are_still_being_added_leaves_nothing(
    lab: Laboratory,
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = a.addresses()

    def configuration(first: int) -> str:
        return "".join(
            instance(f"V{vrid}", vrid, addresses=tuple(f"10.{vrid}.0.{i}/32" for i in range(30)))
            for vrid in range(first, first + 100)
        )

    daemon = Fastvrrp(a, configuration(1)).start()
    wait_master(daemon, "V100")
    reload(daemon, configuration(101), "100 added, 100 removed, 0 changed, 0 unchanged")
    reload(daemon, configuration(51), "50 added, 50 removed, 0 changed, 50 unchanged")
    names = [f"V{vrid}" for vrid in range(51, 151)]
    wait_master(daemon, *names)
    wait_until(lambda: len(a.addresses() - before) == 3000, 30, what="the addresses, and no others")
    wait_until(lambda: set(records(daemon)) == set(names), what="the records given back")
    assert daemon.stop() == 0
    assert a.addresses() == before
    assert "Traceback" not in daemon.log()
