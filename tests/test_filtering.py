"""Accept mode and silent VMACs as a neighbour sees them, beside keepalived where it has them."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Sequence

import pytest

from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.probes import answers

EVERYTHING = {"udp", "tcp", "icmp", "neighbour"}
REFUSED = {"neighbour"}


def instance(
    name: str,
    vrid: int,
    *lines: str,
    addresses: Iterable[str] = (),
    excluded: Iterable[str] = (),
    interface: str = "eth0",
    priority: int = 200,
    version: int = 3,
) -> str:
    """A virtual router that is master after 0.3 s, or 3 s in version 2."""
    body = "\n  ".join(
        (
            f"interface {interface}",
            f"virtual_router_id {vrid}",
            f"version {version}",
            f"advert_int {0.1 if version == 3 else 1}",
            f"priority {priority}",
            *lines,
        )
    )
    blocks = "".join(
        f"  {block} {{\n    " + "\n    ".join(texts) + "\n  }\n"
        for block, texts in (
            ("virtual_ipaddress", addresses or (f"10.0.0.{vrid}/24",)),
            ("virtual_ipaddress_excluded", excluded),
        )
        if texts
    )
    return f"vrrp_instance {name} {{\n  {body}\n{blocks}}}\n"


def ruleset(router: Router, *arguments: str) -> str:
    return router.run(["nft", *(arguments or ("list", "ruleset"))]).stdout


def table(router: Router) -> dict[str, object]:
    """Our table as it is listed: its handle is another one when it was made anew."""
    listed = json.loads(ruleset(router, "-j", "list", "tables"))["nftables"]
    [found] = [item["table"] for item in listed if "table" in item]
    return found  # type: ignore[no-any-return]


def reload(daemon: Daemon, configuration: str) -> None:
    count = daemon.log().count("Reloaded")
    daemon.configure(configuration)
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded", count=count + 1)


ACCEPTING = {
    "OPEN": instance("OPEN", 101),
    "SHUT": instance(
        "SHUT",
        102,
        "no_accept",
        addresses=("10.0.0.102/24", "10.0.1.102/24 dev eth1"),
        excluded=("10.0.0.112/24", "fd00::102/64"),
    ),
    "SHUT_6": instance("SHUT_6", 103, "no_accept", addresses=("fe80::103", "fd00::103/64")),
    "SHUT_VMAC": instance(
        "SHUT_VMAC", 104, "use_vmac", "no_accept", addresses=("fe80::104", "fd00::104/64")
    ),
    "OWNER": instance("OWNER", 105, "state MASTER", "no_accept", priority=255),
    "STRICT": instance("STRICT", 106, "strict_mode"),
    "STRICT_OPEN": instance("STRICT_OPEN", 107, "strict_mode on", "accept"),
    "V2": instance("V2", 108, "no_accept")
    .replace("version 3", "version 2")
    .replace("int 0.1", "int 1"),
}
PROBED = (
    *("10.0.0.1", "10.0.0.101", "10.0.0.102", "10.0.1.102", "10.0.0.112", "fd00::102"),
    *("fe80::103", "fd00::103", "fe80::104", "fd00::104"),
    *("10.0.0.105", "10.0.0.106", "10.0.0.107", "10.0.0.108"),
)


@pytest.mark.keywords("vrrp_instance/no_accept", "vrrp_instance/accept")
def test_addresses_answer_as_under_keepalived() -> None:
    def heard(kind: type[Daemon]) -> dict[str, set[str]]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b, count=2)
            daemon = kind(a, "".join(ACCEPTING.values())).start()
            for name in ACCEPTING:
                daemon.wait_log(f"({name}) Entering MASTER STATE")
            for address in PROBED:
                wait_until(lambda address=address: a.holds(address), what=address)  # type: ignore[misc]
            return {address: answers(b, address) for address in PROBED}

    ours = heard(Fastvrrp)
    open_ones = {"10.0.0.1", "10.0.0.101", "10.0.0.105", "10.0.0.107"}
    expected = {address: EVERYTHING if address in open_ones else REFUSED for address in PROBED}
    assert ours == expected
    assert heard(Keepalived) == ours


def test_a_refused_address_works_for_what_is_routed_by_it(lab: Laboratory) -> None:
    a, b, far = lab.router("a"), lab.router("b"), lab.router("far")
    lab.connect(a, b)
    lab.connect(a, far)
    Fastvrrp(a, instance("V", 100, "no_accept")).start()
    wait_until(lambda: a.holds("10.0.0.100"), what="the address")
    b.ip("route add 10.0.1.0/24 via 10.0.0.100")
    far.ip("route add 10.0.0.0/24 via 10.0.1.1")
    assert answers(b, "10.0.1.3") >= {"udp", "tcp", "icmp"}
    assert answers(b, "10.0.0.100") == REFUSED


@pytest.mark.keywords("vrrp_instance/no_accept")
def test_a_reload_changes_what_is_refused_and_leaves_the_table(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    shut, opened = instance("SHUT", 101, "no_accept"), instance("OTHER", 102)
    daemon = Fastvrrp(a, shut + opened).start()
    wait_until(lambda: a.holds("10.0.0.102") and a.holds("10.0.0.101"), what="the addresses")
    assert answers(b, "10.0.0.101") == REFUSED
    assert answers(b, "10.0.0.102") == EVERYTHING
    before = table(a)
    reload(daemon, shut + instance("OTHER", 102, "no_accept"))
    wait_until(lambda: answers(b, "10.0.0.102") == REFUSED, what="the other one refused")
    reload(daemon, opened + instance("SHUT", 101, "no_accept", addresses=("10.0.0.111/24",)))
    wait_until(lambda: answers(b, "10.0.0.102") == EVERYTHING, what="the other one open again")
    wait_until(lambda: a.holds("10.0.0.111"), what="the new address")
    assert answers(b, "10.0.0.111") == REFUSED
    assert "10.0.0.101" not in ruleset(a)
    assert table(a) == before
    # Nothing is refused any more: no table is left, and the next one that is makes it again.
    reload(daemon, opened)
    wait_until(lambda: ruleset(a) == "", what="the table gone")
    reload(daemon, shut + opened)
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")
    assert answers(b, "10.0.0.101") == REFUSED
    assert "Traceback" not in daemon.log()


@pytest.mark.keywords(
    "global_defs/nftables", "global_defs/nftables_priority", "global_defs/nftables_counters"
)
def test_the_table_is_as_the_configuration_says_also_after_a_reload(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    shut = instance("SHUT", 101, "no_accept")
    daemon = Fastvrrp(a, shut).start()
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")
    assert table(a)["name"] == "fastvrrp"
    lines = ("nftables mine", "nftables_priority 7", "nftables_counters")
    reload(daemon, "global_defs {\n" + "\n".join(lines) + "\n}\n" + shut)
    wait_until(lambda: table(a)["name"] == "mine", what="the other table")
    assert "priority filter + 7" in ruleset(a)
    assert answers(b, "10.0.0.101") == REFUSED
    assert "counter packets 0 bytes 0 drop" in ruleset(a)
    assert any("10.0.0" not in line for line in ruleset(a).splitlines() if "counter" in line)
    reload(daemon, "global_defs {\nnftables\n}\n" + shut)
    wait_until(lambda: table(a)["name"] == "keepalived", what="keepalived's name")
    assert daemon.stop() == 0
    assert ruleset(a) == ""


def test_what_a_crash_leaves_is_replaced(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    named = "global_defs {\nnftables mine\n}\n"
    daemon = Fastvrrp(a, named + instance("V", 101, "no_accept")).start()
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")
    daemon.kill()
    assert "table inet mine" in ruleset(a)
    daemon.configure(instance("V", 101))
    daemon.start()
    wait_until(lambda: ruleset(a) == "", what="the table gone")
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")
    assert answers(b, "10.0.0.101") == EVERYTHING


def test_a_table_that_somebody_removes_is_put_back(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    conf = instance("V", 101, "no_accept", "use_vmac") + instance("W", 102, "use_vmac")
    daemon = Fastvrrp(a, conf).start()
    wait_until(lambda: a.holds("10.0.0.101") and a.holds("10.0.0.102"), what="the addresses")
    before = ruleset(a)
    for command in (("flush", "ruleset"), ("delete", "table", "inet", "fastvrrp")):
        ruleset(a, *command)
        wait_until(lambda: ruleset(a) == before, what=daemon.log)
    assert answers(b, "10.0.0.101") == REFUSED
    assert answers(b, "10.0.0.102") == EVERYTHING
    assert daemon.log().count("somebody removed the table; the table is made anew") == 2
    assert daemon.stop() == 0
    assert ruleset(a) == ""


def test_a_table_that_is_somebody_elses_is_not_taken(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    ruleset(a, "add", "table", "inet", "filter")
    conf = "global_defs {\nnftables filter\n}\n" + instance("V", 101, "no_accept")
    daemon = Fastvrrp(a, conf).start()
    daemon.wait_log("Packets cannot be filtered: nftables: Could not process rule: File exists.")
    daemon.wait_log("So the addresses of 1 virtual router with no_accept answer")
    wait_until(lambda: a.holds("10.0.0.101"), what="the address all the same")
    assert daemon.stop() == 0
    assert ruleset(a).split() == ["table", "inet", "filter", "{", "}"]


class WithoutLibrary(Fastvrrp):
    """On a machine that does not have libnftables: an empty file stands in its place."""

    def commands(self) -> Iterable[Sequence[str]]:
        library = "/usr/lib/x86_64-linux-gnu/libnftables.so.1"
        for command in super().commands():
            hidden = f'mount --bind /dev/null {library} && exec "$@"'
            yield ["unshare", "-m", "sh", "-c", hidden, "sh", *command]


def test_without_nftables_the_daemon_says_so_once_and_goes_on(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    conf = instance("V", 101, "no_accept") + instance("VMAC", 102, "use_vmac")
    daemon = WithoutLibrary(a, conf).start()
    wait_until(lambda: a.holds("10.0.0.101") and a.holds("10.0.0.102"), what="the addresses")
    daemon.wait_log("libnftables.so.1 is missing: install libnftables1")
    assert answers(b, "10.0.0.101") == EVERYTHING
    b.ip("link set eth0 down")
    daemon.wait_log("Entering FAULT STATE", count=2)
    b.ip("link set eth0 up")
    daemon.wait_log("Entering MASTER STATE", count=4)
    assert daemon.log().count("Packets cannot be filtered") == 1
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.log()


@pytest.mark.keywords("global_defs/disable_local_igmp")
def test_groups_of_the_link_are_not_reported_where_that_is_disabled() -> None:
    """The reports of 224.0.0.18, and the kernel's parameter during and after."""

    def seen(kind: type[Daemon], *lines: str) -> tuple[bool, str, str]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b)
            parameter = "net/ipv4/igmp_link_local_mcast_reports"
            text = "global_defs {\n" + "\n".join(lines) + "\n}\n" + instance("V", 100)
            with Capture(b) as capture:
                daemon = kind(a, text).start().wait_log("Entering MASTER STATE")
                during = a.sysctl(parameter)
                daemon.stop()
                reports = "igmp.maddr == 224.0.0.18 || igmp.num_grp_recs"
                return bool(capture.dissect(reports)), during, a.sysctl(parameter)

    assert seen(Fastvrrp) == seen(Keepalived) == (True, "1", "1")
    ours = seen(Fastvrrp, "disable_local_igmp")
    assert ours == seen(Keepalived, "disable_local_igmp") == (False, "0", "1")


def test_disabled_reports_of_groups_follow_a_reload(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    parameter = "net/ipv4/igmp_link_local_mcast_reports"
    text = instance("V", 100, "use_vmac")
    disabled = "global_defs {\ndisable_local_igmp\n}\n" + text
    daemon = Fastvrrp(a, text).start()
    daemon.wait_log("Entering MASTER STATE")
    for configuration, value in ((disabled, "0"), (text, "1"), (disabled, "0")):
        reload(daemon, configuration)
        wait_until(lambda value=value: a.sysctl(parameter) == value, what=value)  # type: ignore[misc]
    daemon.kill()  # one that crashes leaves what it was before to its successor
    daemon.configure(text)
    daemon.start()
    daemon.wait_log("Entering MASTER STATE")
    assert a.sysctl(parameter) == "1"
    assert daemon.stop() == 0
