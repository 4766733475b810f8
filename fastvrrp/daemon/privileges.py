"""What each process of the daemon may do, and why; `kernel/capabilities` says how that is kept.

The processes that run scripts and watch processes say it themselves (`track/runner`,
`track/watcher`), and the one that serves metrics can do nothing (`confinement`).
"""

from __future__ import annotations

from fastvrrp.kernel.capabilities import Capability, Rights

FILES = frozenset({Capability.DAC_OVERRIDE})
"""FIFOs, track files, scripts and log files may lie in folders that other users have closed."""
SCHEDULING = frozenset({Capability.SYS_NICE, Capability.IPC_LOCK})
"""Priorities and no_swap, which a reload may bring."""
ENTERING = frozenset({Capability.SYS_ADMIN, Capability.SYS_PTRACE})
"""To enter a network namespace, and to open that of process 1. Always in reserve: a reload may
bring the first one."""

SUPERVISOR = Rights(
    FILES
    | {
        Capability.KILL,  # the process that serves metrics is nobody
    },
    ENTERING,
    starts_scripts=True,
)
VRRPD = Rights(
    FILES
    | SCHEDULING
    | {
        Capability.NET_ADMIN,  # addresses, links, routes, nftables, sysctls
        Capability.NET_RAW,  # adverts, announcements
        Capability.CHOWN,  # a FIFO is its user's
        Capability.KILL,  # scripts of other users at the start and the end
    },
    ENTERING,
    starts_scripts=True,
)
CHECKD = Rights(
    FILES
    | SCHEDULING
    | {
        Capability.NET_ADMIN,  # IPVS, and marks of groups
        Capability.NET_RAW,  # pings
        Capability.NET_BIND_SERVICE,  # bind_port
        Capability.CHOWN,  # a FIFO is its user's
    },
    ENTERING,
    starts_scripts=True,
)
READER = Rights(frozenset({Capability.DAC_READ_SEARCH}))  # included files, keys, scripts
