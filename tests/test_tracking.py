"""Files, processes and groups that move a priority or let a virtual router fail, beside keepalived:
the priorities in the adverts of both are compared."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tracking_pair import (
    FAULT,
    HEAD,
    INIT,
    MASTER,
    Both,
    Side,
    instance,
    program,
    script,
    tracks,
    wait_speaking,
    wait_states,
)


@pytest.mark.keywords(
    "vrrp_instance/track_file",
    "track_file/weight",
    "track_file/init_file",
    "At the top/track_file",
    "At the top/vrrp_track_file",
    "vrrp_track_file/file weight init_file",
)
def test_files(both: Callable[[str], Both], tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    second.write_text("9")
    third.write_text("9")
    cases = {
        1: "first",
        2: "first weight 2",
        3: "first weight -1",
        4: "first weight 0",
        5: "first weight 0 reverse",
        6: "first weight 1 reverse",
        7: "second",
        8: "second weight 1",
        9: "third",
    }
    pair = both(
        f"track_file first {{\n file {first}\n}}\n"
        f"vrrp_track_file second {{\n file {second}\n weight 3 reverse\n init_file 4\n}}\n"
        f"track_file third {{\n file {third}\n init_file 6 overwrite\n}}\n"
        + "".join(instance(vrid, tracks("track_file", case)) for vrid, case in cases.items())
        + instance(10, tracks("track_file", "third weight -9"), priority=255)
    )
    others = {7: 73, 8: 91, 9: 106, 10: 255}
    nothing = {1: 100, 2: 100, 3: 100, 4: 100, 6: 100} | others
    pair.expect(nothing)
    assert third.read_text().strip() == "6"
    first.write_text("7")
    pair.expect({1: 107, 2: 114, 3: 93, 5: 100, 6: 93} | others)
    first.write_text("-200")
    pair.expect({1: 1, 3: 254, 5: 100, 6: 254} | others)
    first.write_text("garbage")
    pair.expect(nothing)
    (tmp_path / "new").write_text("300")
    (tmp_path / "new").rename(first)
    pair.expect({1: 254, 2: 254, 5: 100} | others)
    first.unlink()
    pair.expect(nothing)


def sleeper(folder: Path) -> Path:
    """A program whose processes have a name that no other has."""
    path = folder / f"fv{folder.name[-8:]}{next(itertools.count())}"
    path.write_bytes(Path("/bin/sleep").read_bytes())
    path.chmod(0o755)
    return path


@pytest.mark.keywords(
    "vrrp_instance/track_process",
    "vrrp_track_process/weight",
    "At the top/vrrp_track_process",
)
def test_processes(ours: Callable[[str], Side], tmp_path: Path) -> None:
    # The kernel tells keepalived nothing in a network namespace, and it counts none of them.
    path = sleeper(tmp_path)
    side = ours(
        f"vrrp_track_process one {{\n process {path.name}\n}}\n"
        f"vrrp_track_process two {{\n process {path.name}\n quorum 2\n weight 10\n}}\n"
        + instance(1, tracks("track_process", "one"))
        + instance(2, tracks("track_process", "two"))
        + instance(3, tracks("track_process", "two weight -10 reverse"))
        + instance(4, tracks("track_process", "one weight 0 reverse"))
    )
    wait_speaking(side, {2: 100, 3: 110, 4: 100})
    log = (tmp_path / "log").open("wb")
    first = side.router.start_daemon([str(path), "1000"], log)
    wait_speaking(side, {1: 100, 2: 100, 3: 110})
    second = side.router.start_daemon([str(path), "1000"], log)
    wait_speaking(side, {1: 100, 2: 110, 3: 100})
    second.kill()
    wait_speaking(side, {1: 100, 2: 100, 3: 110})
    first.kill()
    wait_speaking(side, {2: 100, 3: 110, 4: 100})
    side.daemon.wait_log("(V1) tracked process one quorum not achieved")
    assert side.daemon.stop() == 0


@pytest.mark.keywords(
    "vrrp_sync_group/track_interface",
    "vrrp_sync_group/track_script",
    "vrrp_sync_group/track_file",
)
def test_what_a_group_tracks_counts_for_every_member(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    flag, file = tmp_path / "flag", tmp_path / "file"
    flag.touch()
    file.write_text("3")
    asks = program(tmp_path, "asks", f"test -e {flag}")
    group = "\n    ".join(
        (
            "group {\n V1\n V2\n }",
            "track_interface {\n eth1 weight 20\n }",
            "track_script {\n asks weight -10\n }",
            "track_file {\n file weight 1\n }",
        )
    )
    pair = both(
        script("asks", str(asks))
        + f"track_file file {{\n file {file}\n}}\n"
        + f"vrrp_sync_group G {{\n    {group}\n}}\n"
        + instance(1)
        + instance(2)
        + instance(3)
    )
    pair.expect({1: 123, 2: 123, 3: 100})
    pair.ip("link set far-eth1 down")
    pair.expect({1: 103, 2: 103, 3: 100})
    flag.unlink()
    pair.expect({1: 93, 2: 93, 3: 100})
    file.write_text("0")
    pair.expect({1: 90, 2: 90, 3: 100})


def test_a_group_waits_together_and_tells_nobody_of_a_fault(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    go, fails = tmp_path / "go", tmp_path / "fails"
    text = f"while ! test -e {go}; do sleep 0.1; done; test ! -e {fails}"
    waits = script("waits", str(program(tmp_path, "waits", text)), "timeout 60")
    group = "vrrp_sync_group G {\n group {\n V1\n V2\n }\n}\n"
    pair = both(
        waits + group + instance(1, tracks("track_script", "waits")) + instance(2) + instance(3)
    )
    pair.expect({3: 100})
    time.sleep(1.0)
    pair.expect({3: 100})
    for side in pair.sides:
        assert "FAULT" not in side.daemon.log().replace("is in FAULT", "")
    go.touch()
    pair.expect({1: 100, 2: 100, 3: 100})
    fails.touch()
    pair.expect({3: 100})
    fails.unlink()
    pair.expect({1: 100, 2: 100, 3: 100})


def test_a_group_whose_script_fails_at_first_is_in_fault(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    fails = script("fails", str(program(tmp_path, "fails", "sleep 1; exit 1")), "timeout 9")
    group = "vrrp_sync_group G {\n group {\n V1\n V2\n }\n}\n"
    pair = both(
        fails + group + instance(1, tracks("track_script", "fails")) + instance(2) + instance(3)
    )
    pair.expect({3: 100})
    wait_states(pair.sides[0], {"V1": INIT, "V2": INIT, "V3": MASTER})
    wait_states(pair.sides[0], {"V1": FAULT, "V2": FAULT, "V3": MASTER})
    pair.expect({3: 100})


@pytest.mark.keywords("vrrp_sync_group/global_tracking")
def test_a_group_may_share_what_its_members_track(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("3")

    def configuration(*members: int) -> str:
        names = "\n".join(f"V{vrid}" for vrid in members)
        return (
            f"track_file file {{\n file {file}\n}}\n"
            f"vrrp_sync_group G {{\n group {{\n{names}\n }}\n global_tracking\n"
            " sync_group_tracking_weight\n}\n"
            + instance(1, tracks("track_file", "file weight 1"))
            + instance(2)
            + instance(3)
        )

    side = ours(configuration(1, 2))
    wait_speaking(side, {1: 103, 2: 103, 3: 100})
    file.write_text("5")
    wait_speaking(side, {1: 105, 2: 105, 3: 100})
    side.daemon.configure(HEAD + configuration(1, 3))
    side.daemon.signal(signal.SIGHUP)
    wait_speaking(side, {1: 105, 2: 100, 3: 105})
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


@pytest.mark.keywords("vrrp_sync_group/sync_group_tracking_weight")
def test_members_of_a_group_may_have_weights_of_their_own(
    both: Callable[[str], Both], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("3")
    pair = both(
        f"track_file file {{\n file {file}\n}}\n"
        "vrrp_sync_group G {\n group {\nV1\nV2\n }\n sync_group_tracking_weight\n}\n"
        + instance(1, tracks("track_file", "file weight 1"))
        + instance(2, tracks("track_file", "file weight -2"))
        + instance(3)
    )
    pair.expect({1: 103, 2: 94, 3: 100})
    file.write_text("-5")
    pair.expect({1: 95, 2: 110, 3: 100})


@pytest.mark.keywords("vrrp_sync_group/track_process")
def test_a_process_that_a_group_tracks_counts_for_every_member(
    ours: Callable[[str], Side], tmp_path: Path
) -> None:
    path = sleeper(tmp_path)
    side = ours(
        f"vrrp_track_process one {{\n process {path.name}\n weight 7\n}}\n"
        "vrrp_sync_group G {\n group {\nV1\nV2\n }\n track_process {\none\n }\n}\n"
        + instance(1)
        + instance(2)
        + instance(3)
    )
    wait_speaking(side, {1: 100, 2: 100, 3: 100})
    running = side.router.start_daemon([str(path), "1000"], (tmp_path / "log").open("wb"))
    wait_speaking(side, {1: 107, 2: 107, 3: 100})
    running.kill()
    wait_speaking(side, {1: 100, 2: 100, 3: 100})
    assert side.daemon.stop() == 0
