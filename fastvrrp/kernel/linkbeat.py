"""Asking an interface for its link, where netlink does not tell (ethtool, MII, flags).

Each answer is an ioctl on any socket of the interface's network namespace. The kernel takes its
rtnl lock for them, which anybody on the machine may hold: not to be called in the loop.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from collections.abc import Callable, Mapping

from fastvrrp.kernel.links import IFF_RUNNING, IFF_UP
from fastvrrp.model import LinkPolling

# linux/sockios.h
SIOCGIFFLAGS = 0x8913
SIOCETHTOOL = 0x8946
SIOCGMIIPHY = 0x8947
SIOCGMIIREG = 0x8948
ETHTOOL_GLINK = 0x0000000A  # linux/ethtool.h
# linux/mii.h: the basic mode status register, and "link established" in it
MII_BMSR = 0x01
BMSR_LSTATUS = 0x0004

NAME_LENGTH = 16  # IFNAMSIZ of linux/if.h
REQUEST = 40
"""Bytes of struct ifreq."""
LACKING = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)
"""What a driver says that does not know the question."""


class Unsupported(Exception):
    """The driver does not answer this question."""


def by_mii(asking: socket.socket, interface: str) -> bool:
    """Asks the interface's transceiver. Raises Unsupported, or OSError (ENODEV without the
    interface)."""
    request = _request(interface)
    _ask(asking, SIOCGMIIPHY, request)
    # struct mii_ioctl_data: phy_id, reg_num, val_in, val_out
    struct.pack_into("=H", request, NAME_LENGTH + 2, MII_BMSR)
    # The link's bit stays off once the link was lost, until it is read.
    for _ in range(2):
        _ask(asking, SIOCGMIIREG, request)
    return bool(struct.unpack_from("=H", request, NAME_LENGTH + 6)[0] & BMSR_LSTATUS)


def by_ethtool(asking: socket.socket, interface: str) -> bool:
    """Asks the driver (ETHTOOL_GLINK). Raises Unsupported, or OSError."""
    value = array.array("I", [ETHTOOL_GLINK, 0])  # struct ethtool_value
    request = _request(interface)
    struct.pack_into("P", request, NAME_LENGTH, value.buffer_info()[0])
    _ask(asking, SIOCETHTOOL, request)
    return bool(value[1])


def by_flags(asking: socket.socket, interface: str) -> bool:
    """Asks for the interface's flags. Raises OSError."""
    request = _request(interface)
    _ask(asking, SIOCGIFFLAGS, request)
    flags: int = struct.unpack_from("=H", request, NAME_LENGTH)[0]
    return flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING


QUESTIONS: Mapping[LinkPolling, Callable[[socket.socket, str], bool]] = {
    LinkPolling.MII: by_mii,
    LinkPolling.ETHTOOL: by_ethtool,
    LinkPolling.IOCTL: by_flags,
}
"""In the order in which they are tried."""


def choose(asking: socket.socket, interface: str, wished: LinkPolling) -> LinkPolling:
    """The question that an interface answers: the one that is wished, or the first that it knows.
    Raises OSError where there is no such interface."""
    order = [each for each in (wished, *QUESTIONS) if each in QUESTIONS]
    for each in order:
        try:
            QUESTIONS[each](asking, interface)
        except Unsupported:
            continue
        return each
    raise OSError(errno.EOPNOTSUPP, f"{interface} cannot be asked for its link")


def _request(interface: str) -> bytearray:
    name = interface.encode()
    if len(name) >= NAME_LENGTH:
        raise OSError(errno.ENODEV, f"no interface has a name as long as {interface}")
    return bytearray(name.ljust(REQUEST, b"\0"))


def _ask(asking: socket.socket, question: int, request: bytearray) -> None:
    try:
        fcntl.ioctl(asking, question, request)
    except OSError as error:
        if error.errno in LACKING:
            raise Unsupported from error
        raise
