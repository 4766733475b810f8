"""The daemon where keepalived was: started with its options, beside keepalived itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lab import Fastvrrp, Keepalived

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
ONE_ROUTER = """
vrrp_instance VI_4 {
    version 3
    interface eth0
    virtual_router_id 54
    advert_int 0.1
    virtual_ipaddress { 10.0.0.106/24 }
}
"""
ONE_SERVER = """
virtual_server 10.0.0.200 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.0.0.201 80 {
        TCP_CHECK {
        }
    }
}
"""


class AsKeepalived(Fastvrrp):
    """This project's daemon with keepalived's command line."""

    program = (FASTVRRP, "keepalived")

    def commands(self) -> list[list[str]]:
        return [managed(self.program, self.folder, self.configuration_file)]


class Real(Keepalived):
    """keepalived with the same command line."""

    program = ("keepalived",)

    def commands(self) -> list[list[str]]:
        return [managed(self.program, self.folder, self.configuration_file)]


def managed(program: tuple[str, ...], folder: Path, configuration: Path) -> list[str]:
    return [
        *("env", f"TMPDIR={folder}", *program, "-n", "-l", "-D", "-f", str(configuration)),
        *("-p", str(folder / "main.pid"), "-r", str(folder / "vrrp.pid")),
    ]


def has_pid(file: Path) -> bool:
    return file.exists() and file.read_text().strip().isdigit()


def both(*arguments: str) -> list[subprocess.CompletedProcess[str]]:
    return [
        subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
        for program in ((FASTVRRP, "keepalived"), ("keepalived",))
    ]
