"""A daemon that Prometheus asks, in namespaces."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from lab import Fastvrrp, Laboratory, Router, wait_until
from lab.daemons import descendants
from test_daemon import FAULT, MASTER, instance, quick, wait_state

FETCH = """
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""


def fetch(router: Router, url: str) -> str:
    return router.run([sys.executable, "-c", FETCH, url]).stdout


def scrape(router: Router, address: str = "127.0.0.1:9165") -> str:
    return fetch(router, f"http://{address}/metrics")


def value(text: str, name: str, *labels: str) -> float:
    """The value of the one sample of that name that has these labels."""
    (found,) = (
        line
        for line in text.splitlines()
        if re.match(rf"{name}(?:{{| )", line) and all(label in line for label in labels)
    )
    return float(found.rsplit(maxsplit=1)[1])


def exporter_of(daemon: Fastvrrp) -> int | None:
    """Process id of the one that serves metrics."""
    for pid in descendants([process.pid for process in daemon.processes]):
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and b"fastvrrp.daemon.exporter" in command.read_bytes():
            return pid
    return None


@pytest.mark.keywords("global_defs/metrics_listen")
def test_a_daemon_is_asked_while_it_fails_and_reloads(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    a.ip("link set lo up")
    head = "global_defs {\n    metrics_listen :9165\n}\n"
    script = 'vrrp_script chk {\n    script "/bin/false"\n    interval 1\n    weight -20\n}\n'
    tracking = "track_script {\nchk\n}\n"
    daemon = Fastvrrp(a, head + script + quick(tracking)).start()
    daemon.wait_log("Serving metrics on 127.0.0.1:9165")
    wait_state(daemon, MASTER)
    daemon.wait_log("effective priority from 200 to 180")
    label = 'vrrp_instance="VI_1",interface="eth0",vrid="51",family="ipv4"'
    wait_until(
        lambda: 'fastvrrp_tracker_up{kind="script",name="chk"} 0.0' in scrape(a), what="the script"
    )
    text = scrape(a)
    assert value(text, "fastvrrp_router_state", label) == MASTER
    assert value(text, "fastvrrp_router_priority", label) == 180
    assert value(text, "fastvrrp_router_configured_priority", label) == 200
    assert value(text, "fastvrrp_router_became_master_total", label) == 1
    assert value(text, "fastvrrp_timer_lateness_seconds_count") > 0
    assert value(text, "fastvrrp_failover_overshoot_seconds_count") == 1
    sent = value(text, "fastvrrp_router_advertisements_sent_total", label)
    # A reload that is refused, and one that is done: counters go on.
    daemon.configure(head + "vrrp_instance {\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("is not reloaded")
    assert value(scrape(a), "fastvrrp_config_last_reload_successful") == 0
    daemon.configure(head + script + quick(tracking, priority=150))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    text = scrape(a)
    assert value(text, "fastvrrp_config_last_reload_successful") == 1
    assert value(text, "fastvrrp_reloads_total", 'outcome="done"') == 1
    assert value(text, "fastvrrp_reloads_total", 'outcome="refused"') == 1
    assert value(text, "fastvrrp_router_advertisements_sent_total", label) > sent
    b.ip(f"link set {link.interface} down")
    wait_state(daemon, FAULT)
    text = scrape(a)
    assert value(text, "fastvrrp_routers", 'state="fault"') == 1
    assert value(text, "fastvrrp_router_transitions_total", label) == 3
    assert json.loads(fetch(a, "http://127.0.0.1:9165/healthz"))["status"] == "ok"
    # Where the configuration does not say so any more, nobody is told.
    exporter = exporter_of(daemon)
    daemon.configure(script + quick(tracking))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: exporter_of(daemon) is None, what="no exporter")
    assert exporter is not None
    assert daemon.stop() == 0
    assert not list(daemon.folder.glob("fastvrrp.*[!f]"))


def is_of(descriptor: Path, folder: Path) -> bool:
    """Whether an entry of /proc/PID/fd is a file in a folder."""
    return str(descriptor.readlink()).startswith(f"{folder}/")


def flags_of(descriptor: Path) -> str:
    """Those of open(2), octal."""
    info = (descriptor.parent.parent / "fdinfo" / descriptor.name).read_text()
    return info.split("flags:")[1].split()[0]


@pytest.mark.keywords("global_defs/metrics_listen")
def test_the_process_that_is_asked_can_do_nothing_and_ends_with_the_daemon(
    lab: Laboratory,
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    a.ip("link set lo up")
    daemon = Fastvrrp(a, "global_defs {\n    metrics_listen [::1]:9200\n}\n" + quick()).start()
    daemon.wait_log("Serving metrics on [::1]:9200")
    exporter = exporter_of(daemon)
    assert exporter is not None
    process = Path(f"/proc/{exporter}")
    status = (process / "status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "Groups:\t \n" in status
    assert "NoNewPrivs:\t1" in status
    assert set(re.findall(r"Cap(?:Inh|Prm|Eff|Bnd|Amb):\t(\w+)", status)) == {"0" * 16}
    assert list((process / "root").iterdir()) == []
    # What it has of files are the segment and what stands beside it, to read.
    opened = [each for each in (process / "fd").iterdir() if is_of(each, daemon.folder)]
    assert {each.readlink().name for each in opened} >= {"fastvrrp.state"}
    assert not any(int(flags_of(each), 8) & os.O_ACCMODE for each in opened)
    others = [str(each.readlink()) for each in (process / "fd").iterdir() if each not in opened]
    assert {re.split(r"[\[/]", each.lstrip("/"))[0] for each in others} <= {
        *("dev", "socket:", "anon_inode:", "pipe:", "memfd:said (deleted)")
    }
    assert "fastvrrp_build_info" in scrape(a, "[::1]:9200")
    # When it is killed another one comes; when the daemon is killed it ends.
    subprocess.run(["kill", "-9", str(exporter)], check=True)
    wait_until(lambda: exporter_of(daemon) not in (None, exporter), what="another exporter")
    daemon.wait_log("Serving metrics", count=2)
    assert "fastvrrp_build_info" in scrape(a, "[::1]:9200")
    second = exporter_of(daemon)
    assert second is not None
    for each in daemon.processes:
        each.kill()
    daemon.wait()
    wait_until(lambda: not Path(f"/proc/{second}/exe").exists(), what="its end")


@pytest.mark.keywords("global_defs/metrics_listen")
def test_an_address_that_cannot_be_had_keeps_nobody_from_being_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = "global_defs {\n    metrics_listen 192.0.2.1:9165\n}\n"
    daemon = Fastvrrp(a, text + quick()).start()
    daemon.wait_log("Metrics child process(")
    daemon.wait_log("Cannot assign requested address")
    wait_state(daemon, MASTER)
    assert daemon.stop() == 0


@pytest.mark.keywords("global_defs/metrics_compat", "global_defs/metrics_listen")
def test_keepalived_exporters_names_are_told_on_demand(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    a.ip("link set lo up")
    text = "global_defs {\n    metrics_listen :9165\n    metrics_compat keepalived_exporter\n}\n"
    daemon = Fastvrrp(a, text + quick()).start()
    wait_state(daemon, MASTER)
    daemon.wait_log("Serving metrics")
    found = scrape(a)
    labels = 'iname="VI_1",intf="eth0",vrid="51"'
    assert value(found, "keepalived_vrrp_state", labels, 'ip_address="10.0.0.100/24"') == MASTER
    assert value(found, "keepalived_become_master_total", labels) == 1
    # A reload brings another address, and another virtual router.
    daemon.configure(
        text
        + quick(addresses="10.0.0.101/24")
        + instance("VI_2", "interface eth0", vrid=52, addresses="10.0.0.102/24")
    )
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded")
    found = scrape(a)
    assert 'ip_address="10.0.0.100/24"' not in found
    assert value(found, "keepalived_vrrp_state", labels, 'ip_address="10.0.0.101/24"') == MASTER
    assert value(found, "keepalived_vrrp_state", 'ip_address="10.0.0.102/24"') == 1
    assert daemon.stop() == 0


@pytest.mark.keywords("global_defs/metrics_web_config")
def test_users_are_asked_for_their_passwords(lab: Laboratory, tmp_path: Path) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    a.ip("link set lo up")
    web = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{prometheus: {hashed!r}}}\n")
    text = f"global_defs {{\n    metrics_listen :9165\n    metrics_web_config {web}\n}}\n"
    daemon = Fastvrrp(a, text + quick()).start()
    daemon.wait_log("Serving metrics")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        scrape(a)
    assert "HTTP Error 401" in str(refused.value.stdout)
    # The file is read again at a reload.
    web.write_text("basic_auth_users: {}\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Serving metrics", count=2)
    assert "fastvrrp_build_info" in scrape(a)
    assert daemon.stop() == 0
