"""Keywords that no other test shows: on the wire beside keepalived, and in the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fastvrrp.config import read
from fastvrrp.model import Configuration, VirtualRouter
from lab import Advert, Capture, Daemon, Fastvrrp, Keepalived, Laboratory, wait_until
from packets import decode_ip
from test_reload import instance, records, wait_master

SECOND = 1_000_000_000
IPV6 = ("fe80::101/64", "fd00::101/64")


def conf(
    *lines: str, definitions: tuple[str, ...] = (), addresses: tuple[str, ...] = ("10.0.0.101/24",)
) -> str:
    """A virtual router whose master announces its addresses at once, and no more."""
    virtual = "\n    ".join(addresses)
    body = "\n  ".join(
        ("interface eth0", "virtual_router_id 1", "priority 200", *lines, "garp_master_delay 0")
    )
    return (
        "global_defs {\n  " + "\n  ".join(definitions) + "\n}\n"
        f"vrrp_instance VI_1 {{\n  {body}\n  virtual_ipaddress {{\n    {virtual}\n  }}\n}}\n"
    )


def seen(daemon: type[Daemon], configuration: str) -> tuple[Advert, int, set[str]]:
    """A master's first advert as another router sees it, without its time; how often it announced
    its addresses by its third; and its interfaces."""
    with Laboratory() as lab:
        a, b = lab.router("a"), lab.router("b")
        lab.connect(a, b)
        with Capture(b) as capture:
            running = daemon(a, configuration).start()
            running.wait_log("Entering MASTER STATE")
            for _ in range(3):
                capture.wait_for_advert(1, after=len(capture.frames))
            links = a.links()
        announced = "arp.isgratuitous || (icmpv6.type == 136 && icmpv6.nd.na.flag.s == 0)"
        count = len(capture.dissect(announced))
        return replace(capture.adverts()[0], time=0), count, links


@pytest.mark.keywords(
    "global_defs/vrrp_version",
    "global_defs/vrrp_mcast_group4",
    "global_defs/vrrp_mcast_group6",
    "global_defs/vrrp_garp_master_repeat",
    "global_defs/vrrp_min_garp",
    "global_defs/vmac_prefix",
    "vrrp_instance/mcast_dst_ip",
    "vrrp_instance/unicast_ttl",
    "vrrp_instance/native_ipv6",
    "vrrp_instance/garp_master_repeat",
)
@pytest.mark.parametrize(
    "configuration",
    [
        pytest.param(conf(definitions=("vrrp_version 3",)), id="vrrp_version"),
        pytest.param(conf(definitions=("vrrp_mcast_group4 224.0.0.77",)), id="vrrp_mcast_group4"),
        pytest.param(
            conf(definitions=("vrrp_mcast_group6 ff02::77",), addresses=IPV6),
            id="vrrp_mcast_group6",
        ),
        pytest.param(conf("mcast_dst_ip 224.0.0.66"), id="mcast_dst_ip"),
        pytest.param(conf("unicast_ttl 7", "unicast_peer {\n    10.0.0.2\n  }"), id="unicast_ttl"),
        pytest.param(conf("native_ipv6", addresses=IPV6), id="native_ipv6"),
        pytest.param(conf("use_vmac", definitions=("vmac_prefix ka",)), id="vmac_prefix"),
        pytest.param(
            conf(definitions=("vrrp_garp_master_repeat 2",)), id="vrrp_garp_master_repeat"
        ),
        pytest.param(conf("garp_master_repeat 3"), id="garp_master_repeat"),
        pytest.param(conf(definitions=("vrrp_min_garp",)), id="vrrp_min_garp"),
    ],
)
def test_a_master_is_seen_as_keepalived_s_is(configuration: str) -> None:
    assert seen(Fastvrrp, configuration) == seen(Keepalived, configuration)


@pytest.mark.keywords("vrrp_instance/check_unicast_src", "unicast_peer/min_ttl")
@pytest.mark.parametrize("kind", [Fastvrrp, Keepalived])
@pytest.mark.parametrize(
    ("lines", "peer", "yields"),
    [
        ((), "10.0.0.9", True),
        (("check_unicast_src",), "10.0.0.9", False),
        (("check_unicast_src",), "10.0.0.2", True),
        ((), "10.0.0.2 min_ttl 255", True),
        ((), "10.0.0.9 max_ttl 255", False),
    ],
)
def test_who_is_a_peer(
    lab: Laboratory, kind: type[Daemon], lines: tuple[str, ...], peer: str, yields: bool
) -> None:
    """The better router is a peer that is named, or not, and says that it is from near."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    options = (*lines, "unicast_src_ip 10.0.0.1", f"unicast_peer {{\n    {peer}\n  }}")
    daemon = kind(a, instance("VI_1", 1, *options, priority=100)).start()
    daemon.wait_log("Entering MASTER STATE")
    better = instance("VI_1", 1, "unicast_src_ip 10.0.0.2", "unicast_peer {\n    10.0.0.1\n  }")
    with Capture(b) as capture:
        Keepalived(b, better).start().wait_log("Entering MASTER STATE")
        for _ in range(5):
            capture.wait_for_advert(1, source="10.0.0.2", after=len(capture.frames))
    assert ("Master received advert from 10.0.0.2" in daemon.log()) == yields, daemon.log()


@pytest.mark.keywords("vrrp_instance/down_timer_adverts")
def test_a_backup_waits_for_as_many_adverts_as_it_is_told(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = instance("VI_1", 1, "down_timer_adverts 7", interval="10", priority=192)
    daemon = Fastvrrp(a, text).start()
    daemon.wait_log("Entering BACKUP STATE")
    backup = records(daemon)["VI_1"]
    assert backup["deadline"] - backup["changed_at"] == 70 * SECOND + 10 * SECOND * 64 // 256


@pytest.mark.keywords("vrrp_instance/v3_checksum_as_v2")
@pytest.mark.parametrize("is_on", [False, True])
def test_the_checksum_may_leave_out_the_pseudo_header(lab: Laboratory, is_on: bool) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    with Capture(b) as capture:
        text = instance("VI_1", 1, f"v3_checksum_as_v2 {'on' if is_on else 'off'}")
        daemon = Fastvrrp(a, text).start()
        wait_master(daemon, "VI_1")
        wait_until(lambda: any(frame.data[23] == 112 for frame in capture.frames))
    frame = next(frame for frame in capture.frames if frame.data[23] == 112)
    assert decode_ip(frame.data[14:]).checksum_as_v2 is is_on


# --- what stands in global_defs for all -----------------------------------------------------------


def router_of(path: Path, text: str) -> tuple[VirtualRouter, Configuration]:
    path.write_text(text)
    reading = read(str(path))
    assert not reading.has_errors, reading.complaints
    (router,) = reading.configuration.virtual_routers
    return router, reading.configuration


@pytest.mark.keywords(
    "global_defs/vrrp_version",
    "global_defs/vrrp_garp_master_delay",
    "global_defs/vrrp_garp_master_repeat",
    "global_defs/vrrp_garp_lower_prio_delay",
    "global_defs/vrrp_garp_lower_prio_repeat",
    "global_defs/vrrp_garp_master_refresh",
    "global_defs/vrrp_garp_master_refresh_repeat",
    "global_defs/vrrp_garp_extra_if",
    "global_defs/vrrp_skip_check_adv_addr",
    "global_defs/vrrp_lower_prio_no_advert",
    "global_defs/vrrp_higher_prio_send_advert",
    "global_defs/vrrp_check_unicast_src",
    "global_defs/vrrp_down_timer_adverts",
    "global_defs/v3_checksum_as_v2",
    "global_defs/vrrp_mcast_group4",
    "global_defs/vrrp_strict",
    "global_defs/notify_split_brain",
    "vrrp_instance/strict_mode",
    "vrrp_instance/notify_split_brain",
)
@pytest.mark.parametrize(
    ("of_all", "own"),
    [
        ("vrrp_version 3", "version 3"),
        # What is written for all also holds for an advert of lower priority.
        ("vrrp_garp_master_delay 7", "garp_master_delay 7\n  garp_lower_prio_delay 7"),
        ("vrrp_garp_master_repeat 7", "garp_master_repeat 7\n  garp_lower_prio_repeat 7"),
        ("vrrp_garp_lower_prio_delay 7", "garp_lower_prio_delay 7"),
        ("vrrp_garp_lower_prio_repeat 7", "garp_lower_prio_repeat 7"),
        ("vrrp_garp_master_refresh 7", "garp_master_refresh 7"),
        ("vrrp_garp_master_refresh_repeat 7", "garp_master_refresh_repeat 7"),
        ("vrrp_garp_extra_if all 7", "garp_extra_if all 7"),
        ("vrrp_skip_check_adv_addr", "skip_check_adv_addr"),
        ("vrrp_lower_prio_no_advert", "lower_prio_no_advert"),
        ("vrrp_higher_prio_send_advert", "higher_prio_send_advert"),
        ("vrrp_check_unicast_src", "check_unicast_src"),
        ("vrrp_down_timer_adverts 7", "down_timer_adverts 7"),
        ("v3_checksum_as_v2", "v3_checksum_as_v2"),
        ("vrrp_mcast_group4 224.0.0.77", "mcast_dst_ip 224.0.0.77"),
        ("vrrp_strict", "strict_mode"),
        ("notify_split_brain /bin/true root", "notify_split_brain /bin/true root"),
    ],
)
def test_what_is_written_for_all_is_what_each_could_write(
    tmp_path: Path, of_all: str, own: str
) -> None:
    file = tmp_path / "x.conf"

    def model(of_all: str, own: str) -> VirtualRouter:
        text = instance("VI_1", 1, own).replace("  garp_master_delay 0\n", "")
        text = text.replace("  version 3\n", "", 1).replace("advert_int 0.1", "advert_int 1")
        return router_of(file, f"global_defs {{\n  {of_all}\n}}\n{text}")[0]

    assert model(of_all, "") == model("", own)
    assert model(of_all, "") != model("", "")


@pytest.mark.keywords("vrrp_instance/preempt", "vrrp_instance/nopreempt")
@pytest.mark.parametrize(
    ("lines", "preempts"),
    [((), True), (("nopreempt",), False), (("nopreempt", "preempt"), True)],
)
def test_preempt_takes_nopreempt_back(
    tmp_path: Path, lines: tuple[str, ...], preempts: bool
) -> None:
    router, _ = router_of(tmp_path / "x.conf", instance("VI_1", 1, *lines))
    assert router.preempt is preempts


@pytest.mark.keywords("vrrp_instance/no_virtual_ipaddress")
@pytest.mark.parametrize("is_meant", [False, True])
def test_that_no_address_is_meant_can_be_said(tmp_path: Path, is_meant: bool) -> None:
    file = tmp_path / "x.conf"
    line = "no_virtual_ipaddress" if is_meant else ""
    file.write_text(
        f"vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 1\n  {line}\n"
        "  virtual_ipaddress_excluded {\n    192.0.2.1\n  }\n}\n"
    )
    said = [complaint.text for complaint in read(str(file)).complaints]
    assert bool(said) is not is_meant, said
