"""Users and groups of commands, against the accounts of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.config import read
from fastvrrp.model import Command
from fastvrrp.model import Scripts as Settings
from fastvrrp.track import credentials
from fastvrrp.track.credentials import Account, accounts_of, as_run, learn
from fastvrrp.track.script import Credentials

TRUE = ("/bin/true",)


@pytest.fixture(autouse=True)
def nothing_is_learned() -> Iterator[None]:
    learn({})
    yield
    learn({})


def test_a_command_without_a_user_runs_as_the_default_user_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "DEFAULT_USER", "nobody")
    assert as_run(Command(TRUE), Settings()).credentials == Credentials(65534, 65534)
    monkeypatch.setattr(credentials, "DEFAULT_USER", "no-such-user")
    assert as_run(Command(TRUE), Settings()).credentials is None


def test_script_user_holds_where_the_command_names_nobody() -> None:
    settings = Settings(user="nobody", group="root")
    assert as_run(Command(TRUE), settings).credentials == Credentials(65534, 0)
    # A user of its own comes with that user's group, not with that of script_user.
    assert as_run(Command(TRUE, "root"), settings).credentials == Credentials(0, 0)
    assert as_run(Command(TRUE, "root", "nogroup"), settings).credentials == Credentials(0, 65534)


def test_supplementary_groups_are_taken_along_when_asked_for() -> None:
    found = as_run(Command(TRUE, "root"), Settings(has_supplementary_groups=True)).credentials
    assert found is not None
    assert 0 in found.groups


@pytest.mark.keywords("global_defs/enable_script_security", "global_defs/use_symlink_paths")
def test_a_command_knows_how_it_is_to_be_looked_at() -> None:
    assert as_run(Command(TRUE, "root"), Settings(is_secure=True)).is_guarded
    assert as_run(Command(TRUE, "root"), Settings(keeps_symbolic_links=True)).keeps_links
    plain = as_run(Command(TRUE, "root"), Settings())
    assert not plain.is_guarded
    assert not plain.keeps_links


def test_a_colon_before_the_group_takes_all_groups_along() -> None:
    command = Command(TRUE, "root", "daemon", True)
    everywhere = tuple(os.getgrouplist("root", 1))
    assert everywhere
    assert as_run(command, Settings()).credentials == Credentials(0, 1, everywhere)


def test_a_user_that_is_gone_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="no-such-user"):
        as_run(Command(TRUE, "no-such-user"), Settings())


def test_what_was_learned_is_not_asked_again() -> None:
    command = Command(TRUE, "no-such-user")
    learn({Account("no-such-user"): Credentials(5, 6), Account("root", "root"): None})
    assert as_run(command, Settings()).credentials == Credentials(5, 6)
    with pytest.raises(KeyError, match="user root with group root is not known on this machine"):
        as_run(Command(TRUE, "root", "root"), Settings())
    learn({})
    with pytest.raises(KeyError):
        as_run(command, Settings())


CONFIGURATION = """
global_defs {
    script_user nobody
    startup_script "/bin/true" daemon
    vrrp_notify_fifo /run/fifo bin sys
    vrrp_notify_fifo_script "/bin/true" games
}
vrrp_script s {
    script "/bin/true"
    user mail
}
vrrp_sync_group G {
    group {
        A
    }
    notify "/bin/true" man
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
    }
    notify_master "/bin/true" news
    notify_backup "/bin/true"
}
"""


def test_everybody_as_whom_something_runs_is_looked_up_by_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(CONFIGURATION)
    configuration = read(str(path)).configuration
    found = accounts_of(configuration, configuration.virtual_routers)
    assert {account.user for account in found} == {
        *("nobody", "daemon", "bin", "games", "mail", "man", "news"),
    }
    assert found[Account("nobody")] == Credentials(65534, 65534)
    assert found[Account("bin", "sys")] == Credentials(2, 3)
