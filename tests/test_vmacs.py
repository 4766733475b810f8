"""VMACs of virtual routers and of single addresses: where, called what, with which MAC."""

from __future__ import annotations

import pytest

from lab import Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from test_filtering import instance, reload
from test_reload import FAULT, MASTER, records, wait_master

V4, V6 = "00:00:5e:00:01:{:02x}", "00:00:5e:00:02:{:02x}"


def macvlans(router: Router) -> set[tuple[str, str, str]]:
    """Name, link below and MAC of each."""
    return {
        (link["ifname"], link["link"], link["address"])
        for link in router.show("link", "show", "type", "macvlan")
    }


def virtual_addresses(router: Router) -> set[str]:
    """Addresses that are not the laboratory's, and not link-local (keepalived gives its VMACs one
    of those)."""
    own = {f"10.0.{n}.{router.index}/24" for n in range(4)}
    own |= {f"fd00:{n}::{router.index}/64" for n in range(1, 4)} | {f"fd00::{router.index}/64"}
    return {
        held
        for held in router.addresses()
        if held.split()[1] not in own
        and not held.startswith("lo ")
        and not held.endswith(f"fe80::{router.index}/64")
    }


CASES = {
    "of an address": (
        "",
        instance(
            *("A", 51, "use_vmac"),
            addresses=(
                *("10.0.0.100/24", "10.0.0.101/24 dev eth0"),
                *("10.0.1.100/24 dev eth1 use_vmac", "10.0.1.101/24 dev eth1"),
            ),
            excluded=("fd00::100/64", "fd00:1::100/64 dev eth1 use_vmac"),
        ),
    ),
    "of every address": (
        "",
        instance(
            *("A", 51, "use_vmac_addr"),
            addresses=("10.0.0.100/24", "10.0.0.101/24 dev eth0", "10.0.1.100/24 dev eth1"),
            excluded=("fd00::100/64", "fd00:1::100/64 dev eth1"),
        ),
    ),
    "of every address, and of the instance": (
        "",
        instance(
            *("A", 51, "use_vmac", "use_vmac_addr"),
            addresses=("fe80::51", "fd00::100/64"),
            excluded=(
                "10.0.0.100/24",
                "10.0.0.101/24 dev eth0 use_vmac",
                "fd00:1::1:0/64 dev eth1",
            ),
        ),
    ),
    "of an address on the instance's interface": (
        "",
        instance("A", 51, addresses=("10.0.0.100/24 use_vmac", "10.0.0.101/24")),
    ),
    "with names and MACs": (
        "vmac_prefix gw\nvmac_addr_prefix side",
        instance(
            *("A", 51, "use_vmac 02:11:22:33:44"),
            addresses=("10.0.0.100/24", "10.0.1.100/24 dev eth1 use_vmac"),
            excluded=("fd00::100/64 use_vmac",),
        )
        + instance(
            *("B", 51, "use_vmac"),
            interface="eth1",
            addresses=("10.0.1.110/24", "10.0.0.110/24 dev eth0 use_vmac"),
        )
        + instance("C", 52, "use_vmac side.51 02:99:88:77:66:55", addresses=("10.0.0.120/24",)),
    ),
    "with the prefix of all": (
        "vmac_prefix gw",
        instance(
            *("A", 51, "use_vmac"), addresses=("10.0.0.100/24", "10.0.1.100/24 dev eth1 use_vmac")
        ),
    ),
}


@pytest.mark.keywords(
    "vrrp_instance/use_vmac",
    "vrrp_instance/use_vmac_addr",
    "virtual_ipaddress/use_vmac",
    "virtual_ipaddress_excluded/use_vmac",
    "global_defs/vmac_prefix",
    "global_defs/vmac_addr_prefix",
)
@pytest.mark.parametrize("case", CASES)
def test_names_macs_and_addresses_are_as_under_keepalived(case: str) -> None:
    definitions, text = CASES[case]
    text = f"global_defs {{\n{definitions}\n}}\n{text}"
    count = text.count("vrrp_instance")

    def found(kind: type[Daemon]) -> tuple[set[tuple[str, str, str]], set[str]]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b, count=2)
            daemon = kind(a, text).start().wait_log("Entering MASTER STATE", count=count)
            addresses = text.count("10.0.") + text.count("fd00:") + text.count("fe80:")
            wait_until(
                lambda: len(virtual_addresses(a)) == addresses,
                what=lambda: f"{addresses} addresses: {virtual_addresses(a)}\n{daemon.log()}",
            )
            seen = macvlans(a), virtual_addresses(a)
            assert daemon.stop() == 0
            assert (macvlans(a), virtual_addresses(a)) == (set(), set())
            return seen

    ours = found(Fastvrrp)
    assert ours[0]
    assert ours == found(Keepalived)


@pytest.mark.keywords("virtual_ipaddress/no_track", "virtual_ipaddress_excluded/no_track")
def test_the_links_of_addresses_count_as_under_keepalived() -> None:
    """Who fails when the link of another address goes down, and who is back when it is up."""
    text = "".join(
        instance(
            name, 50 + number, *lines, addresses=(f"10.0.0.{number + 100}",), excluded=(other,)
        )
        for number, (name, other, *lines) in enumerate(
            (
                ("PLAIN", "10.0.1.100 dev eth1"),
                ("VMAC", "10.0.1.101 dev eth1 use_vmac"),
                ("UNTRACKED", "10.0.1.102 dev eth1 no_track"),
                ("UNTRACKED_VMAC", "10.0.1.103 dev eth1 use_vmac no_track"),
                ("PRIMARY_UNTRACKED", "10.0.1.104 dev eth1", "dont_track_primary"),
                ("ELSEWHERE", "10.0.0.105"),
            )
        )
    )

    def failed(kind: type[Daemon]) -> set[str]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b, count=2)
            daemon = kind(a, text).start().wait_log("Entering MASTER STATE", count=6)
            b.ip("link set eth1 down")
            daemon.wait_log("Entering FAULT STATE", count=3)
            names = {
                line.split("(")[1].split(")")[0]
                for line in daemon.log().splitlines()
                if "Entering FAULT STATE" in line
            }
            b.ip("link set eth1 up")
            daemon.wait_log("Entering MASTER STATE", count=9)
            return names

    ours = failed(Fastvrrp)
    assert ours == {"PLAIN", "VMAC", "PRIMARY_UNTRACKED"}
    assert failed(Keepalived) == ours


def test_a_vmac_follows_its_parent_down_and_up_as_under_keepalived() -> None:
    text = instance(
        *("V", 51, "use_vmac"),
        addresses=("10.0.0.100/24", "10.0.1.100/24 dev eth1 use_vmac no_track"),
    )

    def states(router: Router) -> dict[str, str]:
        links = router.show("link", "show", "type", "macvlan")
        return {link["ifname"]: link["operstate"] for link in links}

    def seen(kind: type[Daemon]) -> list[dict[str, str]]:
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b, count=2)
            daemon = kind(a, text).start().wait_log("Entering MASTER STATE")
            wait_until(lambda: set(states(a).values()) == {"UP"}, what="both VMACs up")
            found = []
            for number, interface in enumerate(("eth1", "eth0"), 1):
                b.ip(f"link set {interface} down")
                wait_until(
                    lambda number=number: list(states(a).values()).count("UP") == 2 - number,  # type: ignore[misc]
                    what=lambda: str(states(a)),
                )
                found.append(states(a))
            daemon.wait_log("Entering FAULT STATE")
            b.ip("link set eth0 up", "link set eth1 up")
            daemon.wait_log("Entering MASTER STATE", count=2)
            wait_until(lambda: set(states(a).values()) == {"UP"}, what="both VMACs up again")
            return found

    ours = seen(Fastvrrp)
    down = "LOWERLAYERDOWN"
    assert ours == [{"vrrp.51": "UP", "vrrp1.51": down}, {"vrrp.51": down, "vrrp1.51": down}]
    assert seen(Keepalived) == ours


def test_vmacs_of_addresses_follow_a_reload_under_a_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    plain = ("10.0.0.100/24", "10.0.1.100/24 dev eth1")
    with_vmac = ("10.0.0.100/24", "10.0.1.100/24 dev eth1 use_vmac")
    vmac = V4.format(51)
    daemon = Fastvrrp(a, instance("V", 51, "use_vmac", addresses=plain)).start()
    wait_master(daemon, "V")
    begun = records(daemon)["V"]["changed_at"]
    own = ("vrrp.51", "eth0", vmac)
    for definitions, addresses, links, holder in (
        ("", with_vmac, {own, ("vrrp1.51", "eth1", vmac)}, "vrrp1.51"),
        ("vmac_addr_prefix side", with_vmac, {own, ("side.51", "eth1", vmac)}, "side.51"),
        ("", plain, {own}, "eth1"),
    ):
        text = instance("V", 51, "use_vmac", addresses=addresses)
        reload(daemon, f"global_defs {{\n{definitions}\n}}\n{text}")
        wait_until(lambda links=links: macvlans(a) == links, what=str(links))  # type: ignore[misc]
        wait_until(
            lambda holder=holder: (
                {f"{holder} 10.0.1.100/24", "vrrp.51 10.0.0.100/24"}  # type: ignore[misc]
                == virtual_addresses(a)
            ),
            what=lambda: f"{virtual_addresses(a)}\n{daemon.log()}",
        )
    assert records(daemon)["V"]["changed_at"] == begun
    assert daemon.stop() == 0


def test_a_vmac_of_an_address_that_somebody_deletes_is_made_again(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    text = instance(
        *("V", 51),
        addresses=("10.0.0.100/24", "10.0.1.100/24 dev eth1 use_vmac"),
        excluded=("fd00:1::100/64 dev eth1 use_vmac",),
    )
    daemon = Fastvrrp(a, text).start()
    expected = {
        *("eth0 10.0.0.100/24", "vrrp.51 10.0.1.100/24", "vrrp6.51 fd00:1::100/64"),
    }
    wait_until(lambda: virtual_addresses(a) == expected, what="the addresses")
    a.ip("link delete vrrp.51", "link delete vrrp6.51")
    wait_until(lambda: virtual_addresses(a) == expected, what=daemon.log)
    assert "FAULT" not in daemon.log()
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/use_vmac")
def test_a_group_of_links_is_kept_and_its_vmacs_are_found_after_a_crash(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)

    def group() -> str | None:
        found = a.show("link", "show", "type", "macvlan")
        return found[0]["group"] if found else None

    daemon = Fastvrrp(a, instance("V", 51, "use_vmac group 7")).start()
    wait_master(daemon, "V")
    assert group() == "7"
    reload(daemon, instance("V", 51, "use_vmac group 8"))
    wait_until(lambda: group() == "8", what="the other group")
    assert records(daemon)["V"]["state"] == MASTER
    daemon.kill()
    assert macvlans(a)
    daemon.configure(instance("V", 51))
    daemon.start()
    wait_master(daemon, "V")
    wait_until(lambda: not macvlans(a), what="what the crash left gone")
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/use_vmac")
def test_a_vmac_is_in_the_group_of_the_link_below(lab: Laboratory) -> None:
    """As the manual page of 2.4 has it; 2.2.7 leaves it in the default group."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    a.ip("link set eth0 group 5")
    daemon = Fastvrrp(a, instance("V", 51, "use_vmac")).start()
    wait_master(daemon, "V")
    assert [each["group"] for each in a.show("link", "show", "type", "macvlan")] == ["5"]
    # Ours all the same, after a crash too.
    daemon.kill()
    daemon.configure(instance("V", 51))
    daemon.start()
    wait_master(daemon, "V")
    wait_until(lambda: not macvlans(a), what="what the crash left gone")
    assert daemon.stop() == 0


def test_the_kernel_is_made_to_tell_of_the_parent() -> None:
    def times_told(word: str) -> int:
        """How often the kernel tells of a link as a VMAC is made on it."""
        with Laboratory() as lab:
            a, b = lab.router("a"), lab.router("b")
            lab.connect(a, b)
            heard = lab.folder / "heard"
            with heard.open("wb") as log:
                a.start_daemon(["ip", "monitor", "link"], log)

            def hears(change: str) -> bool:
                before = len(heard.read_text())
                a.ip(f"link set lo {change}")
                return " lo: " in heard.read_text()[before:]

            wait_until(lambda: hears("down") or hears("up"), what="the monitor")
            before = len(heard.read_text())
            wait_master(Fastvrrp(a, instance("V", 51, f"use_vmac {word}")).start(), "V")
            wait_until(lambda: hears("down") or hears("up"), what="everything before")
            told = heard.read_text()[before:].splitlines()
            return sum(" eth0@" in line for line in told)

    assert times_told("netlink_notify_msg") == times_told("") + 1


def test_two_vmacs_with_one_mac_on_one_link_are_said_once(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    text = instance("A", 51, "use_vmac") + instance(
        *("B", 51),
        interface="eth1",
        addresses=("10.0.1.110/24", "10.0.0.110/24 dev eth0 use_vmac"),
    )
    daemon = Fastvrrp(a, text).start()
    wait_master(daemon, "A", "B")
    daemon.wait_log("cannot make vrrp1.51: vrrp.51 has the same MAC on the same link")
    b.ip("link set eth0 down")
    wait_until(lambda: records(daemon)["A"]["state"] == FAULT, what="the fault")
    b.ip("link set eth0 up")
    wait_master(daemon, "A", "B")
    assert daemon.log().count("has the same MAC") == 1
    wait_until(lambda: a.holds("10.0.1.110"), what="what the other one has besides")
    assert daemon.stop() == 0
