"""The effective priority, case by case as keepalived 2.2.7 was seen to compute it.

`test_keepalived_computes_the_same` runs it with every case at once, a virtual router each, and
reads its log.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from fastvrrp.track.priority import OWNER, Contribution, effective, of_number, of_state

FAULT = None
Case = tuple[int, bool, int | None]
"""Weight, whether it is reversed, and the priority that 100 becomes."""

WHEN_GOOD: list[Case] = [
    (0, False, 100),
    (0, True, FAULT),
    (20, False, 120),
    (20, True, 80),
    (-20, False, 100),
    (-20, True, 100),
    (200, False, 254),
    (200, True, 1),
]
WHEN_BAD: list[Case] = [
    (0, False, FAULT),
    (0, True, 100),
    (20, False, 100),
    (20, True, 100),
    (-20, False, 80),
    (-20, True, 120),
    (-200, False, 1),
    (-200, True, 254),
]
NUMBERS: dict[int, list[Case]] = {
    0: [(0, False, 100), (0, True, FAULT), (1, False, 100), (-1, True, 100)],
    7: [(0, False, FAULT), (0, True, 100), (1, False, 107), (2, True, 86), (-1, False, 93)],
    -3: [(0, False, FAULT), (1, False, 97), (2, False, 94), (2, True, 106), (-1, True, 97)],
    253: [(1, False, 254), (1, True, 1), (-1, False, 1), (2, True, FAULT)],
    254: [(1, False, 254), (1, True, FAULT), (-1, False, FAULT), (-1, True, 254)],
    -253: [(1, False, 1), (2, False, FAULT), (-1, True, 1)],
    -254: [(1, False, FAULT), (1, True, 254), (-1, False, 254)],
    300: [(1, False, 254), (2, False, 254), (2, True, FAULT)],
}


@pytest.mark.parametrize(("weight", "is_reversed", "expected"), WHEN_GOOD)
def test_what_is_good(weight: int, is_reversed: bool, expected: int | None) -> None:
    assert effective(100, [of_state(True, weight, is_reversed)]) == expected


@pytest.mark.parametrize(("weight", "is_reversed", "expected"), WHEN_BAD)
def test_what_is_bad(weight: int, is_reversed: bool, expected: int | None) -> None:
    assert effective(100, [of_state(False, weight, is_reversed)]) == expected


@pytest.mark.parametrize(
    ("number", "weight", "is_reversed", "expected"),
    [(number, *case) for number, cases in NUMBERS.items() for case in cases],
)
def test_a_number(number: int, weight: int, is_reversed: bool, expected: int | None) -> None:
    assert effective(100, [of_number(number, weight, is_reversed)]) == expected


@pytest.mark.parametrize(
    ("configured", "contributions", "expected"),
    [
        (100, [], 100),
        (100, [100, -50, 7], 157),
        (100, [200, -250], 50),
        (1, [253, -253], 1),
        (100, [20, FAULT], FAULT),
        (OWNER, [-20, 20], OWNER),
        (OWNER, [FAULT], FAULT),
    ],
)
def test_contributions_together(
    configured: int, contributions: list[Contribution], expected: int | None
) -> None:
    assert effective(configured, contributions) == expected


# --- the same by keepalived ----------------------------------------------------------------------

RUN = """
set -e
mount -t tmpfs none /run
ip link set lo up
for interface in eth0 eth1 eth2; do
    ip link add $interface type veth peer name peer-$interface
    ip link set $interface up
    ip link set peer-$interface up
done
ip link set eth2 down
ip address add 10.0.0.1/24 dev eth0
timeout 5 keepalived -n -l -D -G --vrrp -f "$1" -p /run/k.pid -r /run/v.pid 2>&1 || true
"""
HEAD = """
global_defs {
    script_user root
    enable_script_security
}
vrrp_script good {
    script /bin/true
    interval 1
}
vrrp_script bad {
    script /bin/false
    interval 1
}
vrrp_track_process bad {
    process no-such-process-anywhere
}
"""
INSTANCE = """
vrrp_instance V{number} {{
    interface eth0
    virtual_router_id {number}
    priority 100
    virtual_ipaddress {{
        10.0.1.{number}
    }}
    {tracked}
}}
"""


def tracked_cases(folder: Path) -> tuple[str, list[tuple[str, int | None]]]:
    """The blocks that define what is tracked, and for each case its lines and the priority."""
    text = HEAD
    cases: list[tuple[str, int | None]] = []

    def add(block: str, name: str, case: Case) -> None:
        weight, is_reversed, expected = case
        reverse = "reverse" if is_reversed else ""
        cases.append((f"{block} {{\n{name} weight {weight} {reverse}\n}}", expected))

    for case in WHEN_GOOD:
        add("track_script", "good", case)
        add("track_interface", "eth1", case)
    for case in WHEN_BAD:
        add("track_script", "bad", case)
        add("track_interface", "eth2", case)
        add("track_process", "bad", case)
    for number, number_cases in NUMBERS.items():
        path = folder / f"number{number}"
        path.write_text(f"{number}\n")
        text += f"track_file number{number} {{\nfile {path}\n}}\n"
        for case in number_cases:
            add("track_file", f"number{number}", case)
    return text, cases


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_keepalived_computes_the_same(tmp_path: Path) -> None:
    text, cases = tracked_cases(tmp_path)
    for number, (tracked, _) in enumerate(cases, 1):
        text += INSTANCE.format(number=number, tracked=tracked)
    configuration = tmp_path / "keepalived.conf"
    configuration.write_text(text)
    log = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", RUN, "sh", str(configuration)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for number, (tracked, expected) in enumerate(cases, 1):
        changes = re.findall(rf"\(V{number}\) Changing effective priority from \d+ to (\d+)", log)
        is_fit = f"(V{number}) Entering BACKUP STATE" in log
        seen = int(changes[-1]) if changes else 100
        assert (seen if is_fit else None) == expected, tracked
