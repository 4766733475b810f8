"""FIFOs that are told of changes, side by side with keepalived."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lab import Fastvrrp, Laboratory, wait_until
from lab.witness import Witness, by_name
from notify_pair import NOBODY, both, definitions, instance


@pytest.mark.keywords("global_defs/notify_fifo", "global_defs/vrrp_notify_fifo")
def test_fifos_are_made_and_owned_as_keepalived_does(lab: Laboratory) -> None:
    conf = definitions(
        "script_user nobody daemon", "notify_fifo {folder}/all", "lvs_notify_fifo {folder}/lvs root"
    ).replace("vrrp_notify_fifo {fifo}", "vrrp_notify_fifo {folder}/vrrp root nogroup")
    seen = []
    for witness in both(lab):
        witness.start(conf + instance("A", 1))
        paths = [witness.folder / "all", witness.folder / "vrrp"]
        wait_until(lambda paths=paths: all(path.exists() for path in paths))  # type: ignore[misc]
        wait_until(lambda path=paths[0]: path.stat().st_uid == NOBODY)  # type: ignore[misc]
        wait_until(lambda path=paths[1]: path.stat().st_gid == NOBODY)  # type: ignore[misc]
        seen.append([(s.st_mode, s.st_uid, s.st_gid) for s in map(Path.stat, paths)])
        assert witness.daemon.stop() == 0
        assert not any(path.exists() for path in paths)
        assert witness.fifo.exists()
    theirs, ours = seen
    assert ours == theirs
    assert ours == [(stat.S_IFIFO | 0o600, NOBODY, 1), (stat.S_IFIFO | 0o600, 0, NOBODY)]


@pytest.mark.keywords("global_defs/notify_fifo_script", "global_defs/vrrp_notify_fifo_script")
def test_a_script_reads_the_fifo_to_the_end(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    reader = witness.folder / "reader"
    read = witness.folder / "read"
    reader.write_text(f'#!/bin/sh\necho "$@" >>{read}\nexec cat "$2" >>{read}\n')
    reader.chmod(0o755)
    conf = definitions("script_user root", 'vrrp_notify_fifo_script "{folder}/reader more"')
    conf = conf.replace("{fifo}", "{folder}/made")
    witness.start(conf + instance("A", 1))
    wait_until(lambda: read.exists() and "MASTER 200" in read.read_text())
    assert witness.daemon.stop() == 0
    assert read.read_text().splitlines() == [
        f"more {witness.folder}/made",
        'INSTANCE "A" BACKUP 200',
        'INSTANCE "A" MASTER 200',
        'INSTANCE "A" STOP 200',
    ]


@pytest.mark.keywords("global_defs/fifo_write_vrrp_states_on_reload")
def test_states_are_told_on_a_reload_where_that_is_wanted(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    a, b = instance("A", 1), instance("B", 2)
    wanting = definitions("fifo_write_vrrp_states_on_reload")
    witness.start(wanting + a)
    witness.wait(2, 0)
    witness.reload(wanting + a)
    witness.wait(3, 0)
    # One that is new is told of by itself.
    witness.reload(wanting + a + b)
    witness.wait(6, 0)
    witness.reload(definitions() + a + b)
    witness.daemon.wait_log("Reloaded", count=3)
    witness.daemon.stop()
    assert by_name(witness.told()) == {
        "A": [f'INSTANCE "A" {state} 200' for state in ("BACKUP", *3 * ("MASTER",), "STOP")],
        "B": [f'INSTANCE "B" {state} 200' for state in ("BACKUP", "MASTER", "STOP")],
    }


def test_a_fifo_that_cannot_be_is_refused(lab: Laboratory) -> None:
    witness = Witness(lab, Fastvrrp)
    file = witness.folder / "file"
    file.write_text("mine\n")
    conf = definitions("notify_fifo {folder}/file").replace("{fifo}", "{folder}/no/such/folder")
    witness.start(conf + instance("A", 1))
    witness.daemon.wait_log("Entering MASTER STATE")
    witness.daemon.stop()
    log = witness.daemon.log()
    assert f"notify_fifo {file} cannot be used: it is there, and is no FIFO" in log
    assert "no/such/folder cannot be used: No such file or directory" in log
    assert file.read_text() == "mine\n"
