"""`fastvrrp completion SHELL`: the shells themselves complete what a person would type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastvrrp._table import Table

BASH = """\
eval "$(fastvrrp completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
registered=$(complete -p fastvrrp)
function=${registered##*-F }
${function%% *} fastvrrp "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """\
compdef() { registered=$1 }
_describe() { print -rl -- "${(@P)2}" }
source <(fastvrrp completion zsh)
BUFFER=$1 CURSOR=${#1}
words=(${=1})
[[ $1 == *' ' ]] && words+=('')
$registered
"""
FISH = """\
fastvrrp completion fish | source
complete -C $argv[1]
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
BARE = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}
BETWEEN = {"bash": None, "zsh": ":", "fish": "\t"}
"""What parts a completion from its description."""


@pytest.fixture(params=SCRIPTS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}; install Debian's package {name}")
    return name


def completions(shell: str, line: str, directory: Path) -> set[str]:
    """What the shell offers after `line`, without descriptions and spaces at the end."""
    script = directory / "script"
    script.write_text(SCRIPTS[shell])
    here = str(Path(sys.executable).parent)
    done = subprocess.run(
        [shell, *BARE[shell], str(script), line],
        cwd=directory,
        env={**os.environ, "PATH": f"{here}:{os.environ['PATH']}", "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    between = BETWEEN[shell]
    return {
        (text.split(between)[0] if between else text).strip()
        for text in done.stdout.splitlines()
        if text.strip()
    }


def test_commands(shell: str, tmp_path: Path) -> None:
    assert completions(shell, "fastvrrp ch", tmp_path) == {"check"}
    assert completions(shell, "fastvrrp ", tmp_path) >= {"run", "check", "keyword", "completion"}
    assert completions(shell, "fastvrrp re", tmp_path) == {"reload", "resign"}
    assert completions(shell, "fastvrrp un", tmp_path) == {"undrain"}


def test_options(shell: str, tmp_path: Path) -> None:
    offered = completions(shell, "fastvrrp run -", tmp_path)
    assert offered >= {"--use-file", "--dont-fork", "--pid", "--config-id", "-f", "-n"}
    assert completions(shell, "fastvrrp run --dont-f", tmp_path) == {"--dont-fork"}


def test_choices(shell: str, tmp_path: Path) -> None:
    assert completions(shell, "fastvrrp check --color ", tmp_path) == {"auto", "always", "never"}
    assert completions(shell, "fastvrrp reload --c", tmp_path) == {"--check"}
    assert completions(shell, "fastvrrp completion ", tmp_path) == {"bash", "zsh", "fish"}


def test_keywords(shell: str, tmp_path: Path) -> None:
    assert completions(shell, "fastvrrp keyword advert", tmp_path) == {"advert_int"}
    offered = completions(shell, "fastvrrp keyword vrrp_instance.authentication.", tmp_path)
    assert offered == {
        "vrrp_instance.authentication.auth_type",
        "vrrp_instance.authentication.auth_pass",
    }


def test_files(shell: str, tmp_path: Path) -> None:
    (tmp_path / "vrrp.conf").touch()
    assert completions(shell, "fastvrrp check vr", tmp_path) == {"vrrp.conf"}
    assert completions(shell, "fastvrrp run -f vr", tmp_path) == {"vrrp.conf"}


def test_instances_of_a_file(shell: str, tmp_path: Path) -> None:
    (tmp_path / "vrrp.conf").write_text(
        "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n"
        " virtual_ipaddress {\n  192.0.2.1\n }\n}\n"
    )
    assert completions(shell, "fastvrrp explain vr", tmp_path) == {"vrrp.conf"}
    assert completions(shell, "fastvrrp explain vrrp.conf V", tmp_path) == {"VI_1"}


def test_virtual_routers_that_run(shell: str, tmp_path: Path) -> None:
    table = Table(tmp_path / "here.state", 2)
    for name in ("VI_1", "VX_2"):
        table.add(name, "eth0", 1, 4, 51, 100)
    for command in ("show", "status", "events", "resign"):
        line = f"fastvrrp {command} --pid here.pid VI"
        assert completions(shell, line, tmp_path) == {"VI_1"}
    assert completions(shell, "fastvrrp show --pid not.pid VI", tmp_path) == set()
    assert completions(shell, "fastvrrp status --state M", tmp_path) == {"MASTER"}


def test_what_is_no_file_has_no_completion(shell: str, tmp_path: Path) -> None:
    (tmp_path / "vrrp.conf").touch()
    assert completions(shell, "fastvrrp check -i ", tmp_path) == set()
