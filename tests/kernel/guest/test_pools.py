"""Virtual servers under fastvrrp and under keepalived.

With the same configuration and the same failures the same is seen of both: IPVS, FIFO lines,
scripts, and the lines of the log that people grep for.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.pool_stories import NAME, SERVICE, Director, Servers, real, same, table, told, virtual

pytestmark = pytest.mark.timeout(180)

QUORUM = """
    protocol TCP
    quorum 3
    hysteresis 1
    sorry_server 127.0.0.9 9
"""


@pytest.mark.keywords(
    "virtual_server/omega quorum hysteresis sorry_server quorum_up quorum_down",
    *("real_server/notify_up", "real_server/notify_down", "real_server/inhibit_on_failure"),
    *("global_defs/lvs_notify_fifo", "virtual_server/sorry_server_inhibit"),
)
@pytest.mark.parametrize("inhibits", [False, True])
@pytest.mark.parametrize("omega", ["", "omega"])
def test_quorum_and_sorry_server(inhibits: bool, omega: str, tmp_path: Path) -> None:
    sorry = {9: 0} if inhibits else {}
    more = f"{QUORUM}\n{omega}\n{'sorry_server_inhibit' if inhibits else ''}"

    def story(director: Director, servers: Servers) -> None:
        reals = real(8001), real(8002, "inhibit_on_failure")
        director.write(virtual("10.0.0.1 80", more, *reals))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2} | sorry})
        director.wait(lambda: "Startup complete" in director.log)
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2, 8002: 0} | sorry})
        servers[8001].down()
        director.until_table({SERVICE: {8002: 0, 9: 1}})
        servers[8002].up()
        director.wait(lambda: director.words[-1].startswith("Enabling service"))
        assert table() == {SERVICE: {8002: 0, 9: 1}}
        servers[8001].up()
        director.until_table({SERVICE: {8001: 2, 8002: 2} | sorry})
        director.wait(lambda: director.lines[-1] == f"VS {NAME} UP")
        director.stop()
        assert table() == {}

    seen = same(story, tmp_path)
    assert seen.lines.count(f"VS {NAME} DOWN") == (2 if omega else 1)


@pytest.mark.keywords(
    *("virtual_server/alpha", "real_server/alpha", "global_defs/rs_init_notifies"),
)
@pytest.mark.parametrize("definition", ["", "rs_init_notifies"])
def test_alpha_and_notifications_at_the_start(definition: str, tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        servers[8002].down()
        director.definition = definition
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nalpha", real(8002), real(8001))
            + virtual("fwmark 9", "", real(8001))
        )
        director.start()
        director.until_table({SERVICE: {8001: 2}, "FWM 00000009": {8001: 2}})
        director.wait(lambda: f"RS [127.0.0.1]:tcp:8002 {NAME} DOWN" in director.lines)
        director.stop()
        director.sort()  # two servers are checked in any order

    same(story, tmp_path)


@pytest.mark.keywords("virtual_server/sorry_server_lvs_method")
def test_a_sorry_server_may_be_reached_otherwise(tmp_path: Path) -> None:
    more = "protocol TCP\n sorry_server 127.0.0.9 80\n sorry_server_lvs_method DR"

    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", more, real(8001)))
        director.start()
        director.until_table({SERVICE: {8001: 2}})
        servers[8001].down()
        director.until_table({SERVICE: {80: 1}})
        assert "-> 7F000009:0050      Route   1" in Path("/proc/net/ip_vs").read_text()
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords(
    *("At the top/virtual_server", "virtual_server/real_server", "virtual_server/weight"),
)
def test_weights_and_servers_change_at_a_reload(tmp_path: Path) -> None:
    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), real(8002)))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}})
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nquorum 3", real(8001, weight=5), real(8002))
        )
        director.reload()
        director.until_table({SERVICE: {8001: 5}})
        third = real(8003, weight=3)
        director.write(
            virtual("10.0.0.1 80", "protocol TCP", real(8001, weight=5), real(8002), third)
            + virtual("10.0.0.2 80", "protocol TCP", third)
        )
        director.reload()
        other = "TCP 0A000002:0050"
        director.until_table({SERVICE: {8001: 5, 8003: 3}, other: {8003: 3}})
        servers[8002].up()
        director.until_table({SERVICE: {8001: 5, 8002: 2, 8003: 3}, other: {8003: 3}})
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8002), third))
        director.reload()
        director.until_table({SERVICE: {8002: 2, 8003: 3}})
        servers[8002].down()
        director.until_table({SERVICE: {8003: 3}})
        director.stop()

    seen = same(story, tmp_path)
    assert "Changing weight from 2 to 5 for active service [127.0.0.1]:tcp:8001" in str(seen.words)


@pytest.mark.keywords("MISC_CHECK/misc_dynamic", "FILE_CHECK/weight")
def test_dynamic_weights_of_several_checkers(tmp_path: Path) -> None:
    one, two, load = (tmp_path / name for name in ("one", "two", "load"))

    def misc(path: Path) -> str:
        return f"""MISC_CHECK {{
            misc_path "{tmp_path}/exit {path}"
            misc_timeout 30
            misc_dynamic
        }}"""

    script = tmp_path / "exit"
    script.write_text("#!/bin/sh\nexit $(cat $1)\n")
    script.chmod(0o755)

    def story(director: Director, servers: Servers) -> None:
        for path in (one, two, load):
            path.write_text("0\n")
        file = "FILE_CHECK {\n track_file load\n weight 2\n }"
        checkers = f"{misc(one)}\n{misc(two)}\n{file}"
        director.write(
            f"track_file load {{\n file {load}\n}}\n"
            + virtual("10.0.0.1 80", QUORUM, real(8001, weight=5, checker=checkers))
        )
        director.start()
        for path, text, weight in (
            (one, "9", 7),
            (two, "7", 7),
            (load, "3", 13),
            (load, "-3", 1),
            (load, "0", 7),
            (one, "1", None),
            (two, "12", None),
            (one, "0", 10),
        ):
            if path is two and weight is None:
                director.wait(lambda: "Lost quorum" in director.words[-3])
            path.write_text(f"{text}\n")
            sorry = weight is None or weight < 2
            director.until_table({SERVICE: {9: 1} if sorry else {8001: weight or 0}})
            if path is two and weight is None:
                director.wait(lambda: "inactive" in director.words[-1])
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords("virtual_server/ha_suspend")
def test_nothing_is_checked_without_the_address(tmp_path: Path) -> None:
    def address(verb: str) -> None:
        subprocess.run(["ip", "address", verb, "10.0.0.1/32", "dev", "lo"], check=True)

    def story(director: Director, servers: Servers) -> None:
        director.write(
            virtual("10.0.0.1 80", "protocol TCP\nha_suspend", real(8001))
            + virtual("fwmark 9", "ha_suspend", real(8002))
        )
        director.start()
        mark = "FWM 00000009"
        director.until_table({SERVICE: {8001: 2}, mark: {8002: 2}})
        servers[8001].down()
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}, mark: {}})
        address("add")
        try:
            director.until_table({SERVICE: {}, mark: {}})
        finally:
            address("del")
        director.wait(lambda: "Suspending healthchecker" in director.log)
        servers[8001].up()
        servers[8002].up()
        director.until_table({SERVICE: {}, mark: {8002: 2}})
        address("add")
        try:
            director.until_table({SERVICE: {8001: 2}, mark: {8002: 2}})
        finally:
            address("del")
        director.stop()

    same(story, tmp_path)


@pytest.mark.keywords("At the top/virtual_server_group")
def test_a_group_is_one_pool_of_many_services(tmp_path: Path) -> None:
    group = "virtual_server_group web {\n 10.0.1.1-3 80\n fwmark 7\n}\n"
    services = [*(f"TCP 0A00010{number}:0050" for number in (1, 2, 3)), "FWM 00000007"]

    def story(director: Director, servers: Servers) -> None:
        reals = real(8001), real(8002, "inhibit_on_failure")
        director.write(group + virtual("group web", QUORUM, *reals))
        director.start()
        director.until_table({key: {8001: 2, 8002: 2} for key in services})
        servers[8001].down()
        director.until_table({key: {8002: 2} for key in services})
        servers[8002].down()
        director.until_table({key: {8002: 0, 9: 1} for key in services})
        director.stop()
        assert table() == {}

    seen = same(story, tmp_path)
    assert seen.lines[-1] == "VS [web]:0 DOWN"


@pytest.mark.parametrize(
    ("kind", "after"), [("keepalived", {8001: 2, 8002: 2}), ("fastvrrp", {8001: 2})]
)
def test_a_server_that_is_down_when_its_checker_changes(
    kind: str, after: dict[int, int], tmp_path: Path
) -> None:
    """Under keepalived it counts as up again until the first check, and clients are sent to it;
    here it stays as it was. The first check sets both right."""

    def story(director: Director, servers: Servers) -> None:
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), real(8002)))
        director.start()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        servers[8002].down()
        director.until_table({SERVICE: {8001: 2}})
        changed = real(8002, checker="TCP_CHECK {\n connect_timeout 2\n delay_loop 5\n warmup 5\n}")
        director.write(virtual("10.0.0.1 80", "protocol TCP", real(8001), changed))
        lines = len(director.lines)
        director.reload()
        director.until_table({SERVICE: after})
        director.until_table({SERVICE: {8001: 2}})
        if kind == "fastvrrp":
            assert not [line for line in director.lines[lines:] if ":8002 " in line]
        servers[8002].up()
        director.until_table({SERVICE: {8001: 2, 8002: 2}})
        director.stop()

    told(kind, story, tmp_path / kind)
