"""Scripts that move a priority or let a virtual router fail, beside keepalived."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import wait_until
from tracking_pair import (
    HEAD,
    INIT,
    MASTER,
    Both,
    Side,
    instance,
    program,
    script,
    states,
    tracks,
    wait_speaking,
    wait_states,
)


@pytest.mark.keywords("vrrp_instance/track_script", "vrrp_script/weight", "At the top/vrrp_script")
def test_scripts(both: Callable[[str], Both], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    asks = program(tmp_path, "asks", f"test -e {flag}")
    killed = program(tmp_path, "killed", "kill -9 $$")
    hangs = program(tmp_path, "hangs", "sleep 1000")
    cases = {
        1: "asks",
        2: "asks weight 20",
        3: "asks weight -20",
        4: "asks weight 20 reverse",
        5: "asks weight -20 reverse",
        6: "asks weight 0 reverse",
        7: "heavy",
        8: "heavy weight 5",
        9: "turned",
        10: "turned weight 7 noreverse",
        11: "killed weight -30",
        12: "hangs weight -40",
        13: "killed",
    }
    pair = both(
        script("asks", str(asks), "fall 2", "rise 2")
        + script("heavy", str(asks), "weight 50")
        + script("turned", str(asks), "weight 10 reverse")
        + script("killed", str(killed))
        + script("hangs", str(hangs), "timeout 1")
        + "".join(instance(vrid, tracks("track_script", case)) for vrid, case in cases.items())
        + instance(14, tracks("track_script", "asks weight -60"), priority=255)
    )
    failing = {11: 70, 12: 60, 14: 255}
    good = {1: 100, 2: 120, 3: 100, 4: 80, 5: 100, 7: 150, 8: 105, 9: 90, 10: 107}
    bad = {2: 100, 3: 80, 4: 100, 5: 120, 6: 100, 8: 100, 9: 100, 10: 100}
    pair.expect(good | failing)
    flag.unlink()
    pair.expect(bad | failing | {7: 100})
    flag.touch()
    pair.expect(good | failing)
    for side in pair.sides:
        log = side.daemon.log()
        assert "VRRP_Script(asks) succeeded" in log
        assert "Script `asks` now returning 1" in log
        assert "VRRP_Script(asks) failed (exited with status 1)" in log
        assert "VRRP_Script(killed) failed (due to signal 9)" in log
        assert "VRRP_Script(hangs) timed_out" in log


def test_nobody_is_master_before_its_scripts_have_run(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done")
    pair = both(
        script("waits", str(waits), "timeout 60")
        + "".join(
            instance(vrid, tracks("track_script", f"waits {weight}"))
            for vrid, weight in enumerate(("", "weight 20", "weight -20", "weight 0 reverse"), 1)
        )
    )
    pair.expect({2: 100, 3: 100})
    for side in pair.sides:
        assert "FAULT" not in side.daemon.log()
    go.touch()
    pair.expect({1: 100, 2: 120, 3: 100})


def test_a_master_goes_on_until_the_first_result_of_a_script_that_a_reload_brings(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done; exit 1")
    pair = both(instance(1) + instance(2))
    pair.expect({1: 100, 2: 100})
    for side in pair.sides:
        side.daemon.configure(
            HEAD
            + script("waits", str(waits), "timeout 60")
            + instance(1, tracks("track_script", "waits"))
            + instance(2, tracks("track_script", "waits weight -20"))
        )
        side.daemon.signal(signal.SIGHUP)
    wait_until(lambda: all("Reload" in side.daemon.log() for side in pair.sides))
    time.sleep(1.5)
    pair.expect({1: 100, 2: 100})
    for side in pair.sides:
        assert "sent 0 priority" not in side.daemon.log()
    go.touch()
    pair.expect({2: 80})


def test_one_that_waits_for_its_script_may_be_changed_and_removed(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    waits = script("waits", str(program(tmp_path, "waits", "sleep 1000")), "timeout 1000")
    waiting = waits + "".join(instance(vrid, tracks("track_script", "waits")) for vrid in (1, 2))
    side = ours(waiting + instance(3))
    wait_speaking(side, {3: 100})
    assert states(side) == {"V1": INIT, "V2": INIT, "V3": MASTER}
    side.daemon.wait_log("(V1) tracked script waits has not run yet")
    side.daemon.configure(HEAD + waits + instance(1, priority=90) + instance(3))
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 90, 3: 100})
    side.daemon.configure(HEAD + waiting)
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 100})
    wait_states(side, {"V2": INIT})
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()
    assert "FAULT" not in side.daemon.log()


@pytest.mark.keywords("vrrp_script/init_fail")
def test_a_script_that_is_bad_at_first(ours: Callable[[str], Side], tmp_path: Path) -> None:
    # keepalived 2.2.7 reads the keyword, and does as if it was not there.
    go = tmp_path / "go"
    waits = program(tmp_path, "waits", f"while ! test -e {go}; do sleep 0.1; done")
    side = ours(
        script("waits", str(waits), "timeout 60", "rise 2", "init_fail")
        + "".join(
            instance(vrid, tracks("track_script", f"waits {weight}"))
            for vrid, weight in enumerate(("", "weight 20", "weight -20", "weight 0 reverse"), 1)
        )
    )
    wait_speaking(side, {2: 100, 3: 80, 4: 100})
    go.touch()
    wait_speaking(side, {1: 100, 2: 120, 3: 100})


def test_a_reload_leaves_a_script_what_it_has_counted(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    runs, fails = tmp_path / "runs", tmp_path / "fails"
    counts = program(tmp_path, "counts", f"echo >>{runs}; test ! -e {fails}")
    slow = program(tmp_path, "slow", f"echo >>{tmp_path}/slow-runs; exit 0")

    def configuration(*cases: str, fall: int = 1) -> str:
        return (
            script("counts", str(counts), f"fall {fall}")
            + script("slow", str(slow)).replace("interval 1", "interval 3600")
            + "".join(
                instance(vrid, tracks("track_script", case) if case else "")
                for vrid, case in enumerate(cases, 1)
            )
        )

    side = ours(configuration("counts", "counts weight 20", "slow weight 5", ""))
    wait_speaking(side, {1: 100, 2: 120, 3: 105, 4: 100})

    def reload(text: str) -> None:
        before = side.daemon.log().count("Reloaded")
        side.daemon.configure(HEAD + text)
        side.daemon.signal(signal.SIGHUP)
        side.daemon.wait_log("Reloaded", count=before + 1)

    # Another weight, one that tracks no more, and one that does now: at once, without another run.
    begun = states(side)
    reload(configuration("counts", "counts weight 30", "", "slow weight 7", fall=3))
    wait_speaking(side, {1: 100, 2: 130, 3: 100, 4: 107})
    assert states(side) == begun
    assert (
        "FAULT"
        not in side.daemon.log().replace("tracked script counts has not", "")[
            side.daemon.log().index("Reloading") :
        ]
    )
    assert (tmp_path / "slow-runs").read_text() == "\n"
    fails.touch()
    wait_speaking(side, {2: 100, 3: 100, 4: 107})
    # Nobody tracks it any more: it does not run.
    reload(configuration("", "", "", "slow weight 7"))
    wait_speaking(side, {1: 100, 2: 100, 3: 100, 4: 107})
    ran = runs.read_text()
    time.sleep(1.5)
    assert runs.read_text() == ran
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()
