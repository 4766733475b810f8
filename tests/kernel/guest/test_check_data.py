"""keepalived_check.data, as keepalived writes it and as we do, for one configuration."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

CONFIGURATION = """
global_defs {
  router_id lab
  script_user root
}
virtual_server_group G {
  10.0.3.1-3 80
  10.0.4.1 81
  fwmark 9
}
virtual_server 10.0.0.100 80 {
  delay_loop 2
  lvs_sched wrr sh-port
  lvs_method NAT
  protocol TCP
  persistence_timeout 50
  quorum 2
  hysteresis 1
  ha_suspend
  alpha
  omega
  quorum_up "/bin/true up"
  quorum_down "/bin/true down"
  sorry_server 127.0.0.1 9000
  real_server 127.0.0.1 8001 {
    weight 3
    inhibit_on_failure
    notify_up "/bin/true x"
    TCP_CHECK {
      connect_timeout 1
      retry 2
    }
    HTTP_GET {
      url {
        path /a
        status_code 200
        digest 0123456789abcdef0123456789abcdef
      }
      url {
        path /b
        regex "abc"
      }
    }
  }
  real_server 127.0.0.1 8002 {
    uthreshold 100
    lthreshold 10
    MISC_CHECK {
      misc_path "/bin/true 1"
      misc_dynamic
    }
    SMTP_CHECK {
      helo_name me
    }
    DNS_CHECK {
      name example.org
      type A
    }
    UDP_CHECK {
    }
  }
}
virtual_server fwmark 7 {
  lvs_sched rr
  lvs_method DR
  real_server 127.0.0.3 0 {
  }
}
virtual_server group G {
  lvs_sched rr
  lvs_method TUN
  protocol UDP
  real_server 127.0.0.4 0 {
    lvs_method TUN type gue port 6080
  }
}
"""
OURS_LACKS = re.compile(
    r" *(?:System is compiled|VirtualHost = |connection timeout|delay_loop|Delay loop = \d+\.|"
    r"Alpha is|previous effective|Current weight|Retries iterations|Default delay before|"
    r"Regex options|Regex ref|uid:gid|timeout = |Last ran|Last status|Inhibit on failure is OFF$)"
)
"""Lines of keepalived's that are left out, and why: see as_check_data."""


class Daemon:
    """One that writes its data where it is asked to."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "conf").write_text(CONFIGURATION)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-f", str(folder / "conf"), "-p", str(folder / "pid")],
                env={**os.environ, "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_log(self, text: str) -> None:
        self.wait(lambda: text in self.log)

    def wait(self, until: Callable[[], object]) -> None:
        end = time.monotonic() + 40
        while not until():
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def data(self) -> list[str]:
        path = self.folder / "keepalived_check.data"
        self._process.send_signal(signal.SIGUSR1)
        self.wait(lambda: path.exists() and path.stat().st_size)
        time.sleep(0.5)  # keepalived writes it in its place
        return path.read_text().splitlines()

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(40) == 0


@pytest.fixture
def written(tmp_path: Path) -> list[list[str]]:
    """What keepalived has written, and what we have."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    keepalived = ["keepalived", "-n", "-l", "-D", "-c", str(tmp_path / "c")]
    keepalived += ["-r", str(tmp_path / "v")]
    ours = [sys.executable, "-P", "-m", "fastvrrp", "run", "-n", "-l", "-D"]
    found: list[list[str]] = []
    for name, command, begun in (
        ("keepalived", keepalived, "Activating BFD healthchecker"),
        ("fastvrrp", ours, "Health checks have begun"),
    ):
        daemon = Daemon(command, tmp_path / name)
        daemon.wait_log(begun)
        found.append(daemon.data())
        daemon.stop()
    return found


def topology(lines: list[str]) -> list[str]:
    """Without whose scripts they are, which no file of ours says; keepalived follows links."""
    found = lines[lines.index("------< LVS Topology >------") :]
    return [line.replace(", uid:gid 0:0", "").replace("'/usr/bin/", "'/bin/") for line in found]


def test_the_data_of_both_is_alike(written: list[list[str]]) -> None:
    """Without what is checked: `ha_suspend`, and the address is not here."""
    theirs, ours = map(topology, written)
    wanted = [line for line in theirs if not OURS_LACKS.match(line)]
    found = [line for line in ours if not OURS_LACKS.match(line)]
    difference = list(unified_diff(wanted, found, n=0, lineterm=""))
    assert not difference, "\n".join(difference)
    assert len(wanted) > 120
