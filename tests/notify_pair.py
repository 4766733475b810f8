"""Configurations that tell of changes, and whom they tell, here and under keepalived."""

from __future__ import annotations

import pytest

from fastvrrp.config.table import TOP
from lab import Fastvrrp, Keepalived, Laboratory
from lab.witness import Witness

NOBODY = 65534
MAIL = (
    "smtp_server {peer} 2525",
    "notification_email {\n    root@example.org\n    admin@example.org\n  }",
    "notification_email_from vrrp@example.org",
    "smtp_helo_name router.example.org",
)


def needs(keyword: str) -> pytest.MarkDecorator:
    """A test that waits until a keyword is acted on."""
    return pytest.mark.skipif(
        not TOP.rows[keyword].is_acted_on, reason=f"{keyword} is not acted on yet"
    )


def definitions(*lines: str) -> str:
    body = "\n  ".join(("router_id lab", "vrrp_notify_fifo {fifo}", *lines))
    return f"global_defs {{\n  {body}\n}}\n"


def instance(name: str, vrid: int, *lines: str, priority: int = 200) -> str:
    body = "\n  ".join(
        (
            "interface {interface}",
            f"virtual_router_id {vrid}",
            "version 3",
            "advert_int 0.2",
            f"priority {priority}",
            "garp_master_delay 0",
            *lines,
        )
    )
    address = f"{{net}}.{100 + vrid}/24"
    return f"vrrp_instance {name} {{\n  {body}\n  virtual_ipaddress {{\n    {address}\n  }}\n}}\n"


def every_script(name: str) -> tuple[str, ...]:
    return tuple(
        f'{keyword} "{{script}} {keyword} {name}"'
        for keyword in (
            "notify_master",
            "notify_backup",
            "notify_fault",
            "notify_stop",
            "notify",
        )
    )


def both(lab: Laboratory) -> list[Witness]:
    return [Witness(lab, Keepalived), Witness(lab, Fastvrrp)]


def stop(witness: Witness) -> None:
    witness.daemon.stop()
