"""keepalived's command line, taken as keepalived takes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dropin_pair import FASTVRRP, ONE_ROUTER, AsKeepalived, both
from lab import Laboratory


@pytest.mark.parametrize(
    "arguments",
    [
        *[(f"--signum={name}",) for name in ("STOP", "RELOAD", "DATA", "STATS", "STATS_CLEAR")],
        ("--signum=JSON",),
        ("--signum", "JSON"),
        ("--sig=DATA",),
        ("--signum=NONE",),
        ("--unknown",),
        ("-Z",),
        ("--log=x",),
        ("-p",),
        ("-A",),
    ],
)
def test_the_command_line_answers_the_same(arguments: tuple[str, ...]) -> None:
    mine, other = both(*arguments)
    assert (mine.returncode, mine.stdout) == (other.returncode, other.stdout)
    assert mine.stderr == other.stderr


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_the_version_stands_where_an_exporter_looks(option: str) -> None:
    mine, other = both(option)
    assert mine.returncode == other.returncode == 0
    assert mine.stderr.split()[:2] == other.stderr.split()[:2] == ["Keepalived", "v2.2.7"]


def test_every_option_of_the_help_is_known() -> None:
    from fastvrrp.cli.as_keepalived import OPTIONS

    said = both("--help")[1].stderr
    known = {option.long: option.short for option in OPTIONS}
    for line in said.splitlines():
        if not line.strip().startswith("-"):
            continue
        names = line.strip()
        short = names[1] if names[1] != "-" else ""
        long = names.partition("--")[2].split()[0].split("=")[0].split("[")[0]
        assert known[long] == short, line


def test_a_test_of_the_configuration_writes_to_a_file(tmp_path: Path) -> None:
    configuration = tmp_path / "keepalived.conf"
    configuration.write_text("global_defs {\n    no_such_keyword\n}\n")
    statuses = []
    for number, program in enumerate(((FASTVRRP, "keepalived"), ("keepalived",))):
        log = tmp_path / f"log{number}"
        done = subprocess.run(
            [*program, f"--config-test={log}", "-f", str(configuration)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "no_such_keyword" in log.read_text()
        assert done.stderr == ""
        statuses.append(done.returncode)
    assert statuses == [5, 5]


def test_options_without_meaning_are_said_once(lab: Laboratory, tmp_path: Path) -> None:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)

    class Odd(AsKeepalived):
        def commands(self) -> list[list[str]]:
            return [[*super().commands()[0], "--all", "-x", "-B", "--debug=Dv", "-d"]]

    daemon = Odd(router, ONE_ROUTER).start()
    daemon.wait_log("(VI_4) Entering MASTER STATE")
    for option in ("all", "snmp", "no_bfd", "debug"):
        assert daemon.log().count(f"keepalived's option --{option} has no meaning here") == 1
    assert "VRRP Instance = VI_4" in daemon.log(), "-d writes the configuration into the log"
    assert daemon.stop() == 0


def test_a_link_of_the_name_is_enough(tmp_path: Path) -> None:
    link = tmp_path / "keepalived"
    link.symlink_to(FASTVRRP)
    script = Path(__file__).parent.parent / "deploy" / "keepalived"
    for command in ([str(link)], ["sh", str(script)]):
        done = subprocess.run(
            [*command, "--signum=RELOAD"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PATH": f"{Path(FASTVRRP).parent}:{os.environ['PATH']}"},
        )
        assert done.stdout == "1\n"
