"""Which place a `net_namespace` names, and how many there can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp._sockets import interface_number
from fastvrrp.config import Reading, read
from fastvrrp.model import MOST_NAMESPACES, OWN_NAMESPACE

INSTANCE = """
vrrp_instance {name} {{
    {lines}
    interface eth0
    virtual_router_id {vrid}
    track_interface {{
        {tracked}
    }}
    virtual_ipaddress {{
        {address}
    }}
}}
"""


def instance(
    name: str,
    lines: str = "",
    tracked: str = "",
    address: str = "10.0.0.1/24",
    vrid: int = 51,
) -> str:
    return INSTANCE.format(name=name, lines=lines, tracked=tracked, address=address, vrid=vrid)


def taken(tmp_path: Path, text: str, *own: str) -> Reading:
    path = tmp_path / "x.conf"
    path.write_text(text)
    return read(str(path), None, own)


@pytest.mark.keywords("net_namespace", "vrrp_instance/net_namespace")
@pytest.mark.parametrize("is_first", [True, False])
def test_a_name_of_the_daemon_s_own_is_no_other_place(tmp_path: Path, is_first: bool) -> None:
    """Whether the configuration says so, before the instance or after it, or the machine."""
    head, two = "net_namespace home\n", instance("A") + instance("B", "net_namespace home")
    reading = taken(tmp_path, head + two if is_first else two + head)
    [complaint] = [each for each in reading.complaints if "virtual_router_id" in each.text]
    assert "B has virtual_router_id 51 with IPv4 on eth0, as A" in complaint.text
    assert [each.name for each in reading.configuration.virtual_routers] == ["A"]
    [alone] = taken(tmp_path, two, "home", "house").configuration.virtual_routers
    assert alone.namespace is None


def test_another_name_is_another_place(tmp_path: Path) -> None:
    text = "net_namespace home\n" + instance("A") + instance("B", "net_namespace red")
    first, second = taken(tmp_path, text, "house").configuration.virtual_routers
    assert (first.namespace, second.namespace) == (None, "red")


@pytest.mark.parametrize(
    ("home", "tracked", "where"),
    [
        ("", "net_namespace home", None),
        ("", "net_namespace house", None),
        ("", "net_namespace red", "red"),
        ("", "", None),
        ("net_namespace red", "", None),
        ("net_namespace red", "net_namespace red", None),
        ("net_namespace red", "net_namespace home", OWN_NAMESPACE),
        ("net_namespace red", "net_namespace blue", "blue"),
    ],
)
@pytest.mark.keywords("vrrp_instance/track_interface")
def test_where_a_tracked_interface_is(
    tmp_path: Path, home: str, tracked: str, where: str | None
) -> None:
    text = "net_namespace home\n" + instance("A", home, f"eth1 {tracked}")
    [router] = taken(tmp_path, text, "house").configuration.virtual_routers
    assert [each.namespace for each in router.tracked] == [where]


def test_an_interface_of_that_name_elsewhere_is_not_the_instance_s_own(tmp_path: Path) -> None:
    text = instance("A", tracked="eth0 net_namespace red\neth0 net_namespace home\neth0")
    reading = taken(tmp_path, text, "home")
    [router] = reading.configuration.virtual_routers
    assert [each.namespace for each in router.tracked] == ["red"]
    assert [each.place.line for each in reading.complaints] == [8, 9]
    assert "is the interface of A" in reading.complaints[0].text


def test_a_namespace_too_many_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside"):
        interface_number(MOST_NAMESPACES + 1, 1)
    text = "".join(
        instance(f"V{each}", f"net_namespace n{each}", address=f"10.0.{each >> 8}.{each & 255}")
        for each in range(MOST_NAMESPACES)
    )
    lines = text.count("\n")
    text += instance("AGAIN", "net_namespace n7", vrid=52)
    text += instance("HOME", "net_namespace home", "eth1 weight 5 net_namespace last")
    text += instance("MORE", "net_namespace more")
    reading = taken(tmp_path, text, "home")
    found = [each for each in reading.complaints if "too many" in each.text]
    assert [each.text.split(":")[0] for each in found] == [
        "net_namespace last is one too many, and eth1 of HOME is left out",
        "net_namespace more is one too many, and MORE is left out",
    ]
    assert text.splitlines()[found[0].place.line - 1].strip() == "eth1 weight 5 net_namespace last"
    assert found[1].place.line > lines
    assert len(reading.configuration.virtual_routers) == MOST_NAMESPACES + 2
