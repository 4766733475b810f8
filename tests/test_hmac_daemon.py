"""`auth_hmac` as its user has it: daemons in namespaces, keys in files, reloads."""

from __future__ import annotations

import pytest

import hmac_reference as reference
from lab import Capture, Fastvrrp, Laboratory, wait_until
from test_reload import MASTER, instance, records, reload, wait_master

BACKUP, FAULT = 1, 3
KEY = "0123456789abcdef0123456789ABCDEF"
NEW_KEY = "hex:" + "5a" * 48
UNCHANGED = "0 added, 0 removed, 0 changed"


def signed(name: str, vrid: int, *lines: str, priority: int = 200, **options: object) -> str:
    body = "\n    ".join(lines)
    return instance(name, vrid, f"auth_hmac {{\n    {body}\n  }}", priority=priority, **options)  # type: ignore[arg-type]


def refused(daemon: Fastvrrp, name: str = "VI_1") -> int:
    return sum(records(daemon)[name]["refused"])


@pytest.mark.keywords(
    "vrrp_instance/auth_hmac", "vrrp_instance/auth_hmac/key", "vrrp_instance/auth_hmac/active_key"
)
def test_keys_rotate_by_reloads_while_one_stays_master(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemons = []
    for router, priority in ((a, 200), (b, 100)):
        (router.folder / "old").write_text(KEY + "\n")
        (router.folder / "new").write_text(NEW_KEY + "\n")
        conf = signed("VI_1", 1, f"key 1 file:{router.folder}/old", priority=priority)
        conf += signed(
            "VI_6", 6, f"key 1 {KEY}", priority=priority, addresses=("fe80::6/64", "2001:db8::6/64")
        )
        daemons.append(Fastvrrp(router, conf).start())
    master, backup = daemons
    wait_master(master, "VI_1", "VI_6")
    wait_until(lambda: records(backup).get("VI_1", {}).get("state") == BACKUP, what="a backup")
    begun = records(master)["VI_1"]["changed_at"]
    taken_over = records(backup)["VI_1"]["became_master"]
    ignored = refused(backup), refused(master)
    with Capture(b) as capture:
        for active in ("active_key 1", "active_key 2"):
            for daemon, router, priority in ((backup, b, 100), (master, a, 200)):
                keys = f"key 1 file:{router.folder}/old", f"key 2 file:{router.folder}/new"
                conf = signed("VI_1", 1, *keys, active, priority=priority)
                reload(daemon, conf, "1 changed" if priority else "")
                for _ in range(4):
                    capture.wait_for_advert(1, after=len(capture.frames))
    capture.assert_clean()
    assert {advert.source for advert in capture.adverts() if advert.vrid == 1} == {"10.0.0.1"}
    numbers = [
        frame.data[-27]
        for frame in capture.frames
        if frame.data[12:14] == b"\x08\x00" and frame.data[23] == 112 and frame.data[35] == 1
    ]
    assert sorted(numbers) == numbers
    assert set(numbers) == {1, 2}
    last = [f.data for f in capture.frames if f.data[23:24] == b"\x70" and f.data[35] == 1][-1]
    message = reference.message_of(last[14:])
    assert message[-16:] == reference.digest(b"\x5a" * 48, last[26:30], message)
    assert records(master)["VI_1"]["changed_at"] == begun
    assert records(backup)["VI_1"]["became_master"] == taken_over
    assert (refused(backup), refused(master)) == ignored
    assert [daemon.stop() for daemon in (backup, master)] == [0, 0]


@pytest.mark.keywords("vrrp_instance/auth_hmac/key")
def test_a_key_that_cannot_be_read_faults_its_instance_alone(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    file = a.folder / "key"
    conf = signed("VI_1", 1, f"key 1 file:{file}") + instance("VI_2", 2)
    daemon = Fastvrrp(a, conf).start()
    wait_master(daemon, "VI_2")
    assert records(daemon)["VI_1"]["state"] == FAULT
    daemon.wait_log(
        f"(VI_1) key 1 of auth_hmac cannot be used: {file} cannot be read: No such file"
    )
    # The file comes: a reload of the same configuration reads it.
    file.write_text(KEY)
    reload(daemon, conf, UNCHANGED)
    wait_master(daemon, "VI_1")
    # It becomes one that cannot be a key.
    file.write_text("too short")
    with Capture(b) as capture:
        reload(daemon, conf, UNCHANGED)
        wait_until(lambda: records(daemon)["VI_1"]["state"] == FAULT, what="FAULT again")
        capture.wait_for_advert(1, priority=0)
    daemon.wait_log(f"it has 9 bytes in {file} and needs 32 to 64")
    assert records(daemon)["VI_2"]["state"] == MASTER
    file.write_text(NEW_KEY)
    reload(daemon, conf, UNCHANGED)
    wait_master(daemon, "VI_1")
    # Without it at last.
    reload(daemon, instance("VI_1", 1) + instance("VI_2", 2), "1 changed")
    with Capture(b) as capture:
        capture.wait_for_advert(1)
        assert len(capture.frames[-1].data) < 14 + 20 + 8 + 4 + 28
    assert daemon.stop() == 0
    assert "too short" not in daemon.log()
