"""Kernel parameters: changed, remembered and put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastvrrp.kernel.sysctl import Sysctls, links_of, path_of, read, write
from kernel_namespace import add_veth, inside_namespace, ip, needs_root

pytestmark = needs_root

FILTER = path_of("ipv4", "a0", "arp_filter")
IGNORE = path_of("ipv4", "a0", "arp_ignore")


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with inside_namespace():
        add_veth("a0", "b0")
        yield


def test_the_links_with_parameters() -> None:
    assert set(links_of("ipv4")) == {"all", "default", "lo", "a0", "b0"}


def test_a_parameter_is_written_and_read() -> None:
    assert write(FILTER, "1")
    assert read(FILTER) == "1"


def test_a_link_that_is_not_there_is_no_error() -> None:
    gone = path_of("ipv4", "gone", "arp_filter")
    assert read(gone) is None
    assert not write(gone, "1")
    sysctls = Sysctls()
    assert not sysctls.change(gone, "1")
    assert sysctls.originals == {}


def test_a_value_that_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        write(FILTER, "nonsense")


class TestChanging:
    def test_what_was_there_before_is_put_back(self) -> None:
        write(IGNORE, "2")
        sysctls = Sysctls()
        for value in ("1", "8"):
            assert sysctls.change(IGNORE, value)
        assert read(IGNORE) == "8"
        sysctls.restore()
        assert read(IGNORE) == "2"
        assert sysctls.originals == {}

    def test_one_can_be_put_back_alone(self) -> None:
        sysctls = Sysctls()
        sysctls.change(FILTER, "1")
        sysctls.change(IGNORE, "1")
        sysctls.restore([FILTER])
        assert (read(FILTER), read(IGNORE)) == ("0", "1")
        assert list(sysctls.originals) == [IGNORE]

    def test_what_is_right_already_is_not_ours_to_put_back(self) -> None:
        write(FILTER, "1")
        sysctls = Sysctls()
        assert sysctls.change(FILTER, "1")
        assert sysctls.originals == {}

    def test_a_link_that_vanished_does_not_stop_the_rest(self) -> None:
        add_veth("c0", "d0")
        sysctls = Sysctls()
        for link in ("a0", "c0", "b0"):
            assert sysctls.change(path_of("ipv4", link, "arp_filter"), "1")
        ip("link del c0")
        sysctls.restore()
        assert read(FILTER) == "0"
        assert read(path_of("ipv4", "b0", "arp_filter")) == "0"

    def test_a_crashed_process_is_succeeded(self) -> None:
        crashed = Sysctls()
        crashed.change(IGNORE, "1")
        successor = Sysctls(crashed.originals)
        successor.change(IGNORE, "1")
        successor.restore()
        assert read(IGNORE) == "0"
