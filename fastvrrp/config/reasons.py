"""Why fastvrrp does not act on a keyword that it reads.

A row of the table that is acted on needs none, whatever stands here.
"""

from __future__ import annotations

import re

NOT_YET = "it is not there yet"
SNMP = "SNMP is not there yet"
BFD = "BFD is not there yet"

REASONS = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r".*\.BFD_CHECK.*", BFD),
        (r"virtual_server.*\.snmp_name", SNMP),
        (r"bfd_instance.*|.*\.track_bfd|global_defs\.bfd_.*", BFD),
        (r"global_defs\.(snmp_.*|enable_snmp_.*|enable_traps)", SNMP),
        (r"global_defs\.(enable_dbus|dbus_.*)", "D-Bus is not there yet"),
        (
            r"global_defs\.(vrrp_iptables|vrrp_ipsets)|namespace_with_ipsets",
            "nftables does the same, without a program for each address",
        ),
        (
            r"global_defs\..*_rcv_bufs.*",
            "what the kernel could not deliver is read again as a whole",
        ),
        (
            r"global_defs\.vrrp_rx_bufs_.*|vrrp_instance\.kernel_rx_buf_size",
            "one socket of 16 MB receives for all virtual routers",
        ),
        (
            r"global_defs\.nftables_ifindex",
            "it is for nft before 0.8.3 (2018), which cannot list names in a set; and an index is"
            " another one when a VMAC is made anew",
        ),
        (
            r"global_defs\.(tmp_config_directory|config_save_dir)",
            "one process reads the file, and keeps no copy",
        ),
    )
)


def reason_of(path: tuple[str, ...]) -> str:
    """Why a row with that path is not acted on."""
    name = ".".join(path)
    return next((reason for pattern, reason in REASONS if pattern.fullmatch(name)), NOT_YET)
