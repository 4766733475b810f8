"""What holds for the whole daemon: `global_defs` and what stands alone at the top.

Defaults of instances and servers (`vrrp_version`, `vrrp_garp_*`, ...) are not here: they are
applied to those already.
"""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.scripts import Command
from fastvrrp.model.units import SECOND, Address, Nanoseconds


@dataclass(frozen=True, slots=True)
class Mail:
    """Mails about changes of state; who sends them is in the instances and servers."""

    recipients: tuple[str, ...] = ()
    sender: str | None = None
    """None is keepalived at the host's name."""
    server: str | None = None
    port: int = 25
    helo_name: str | None = None
    """None is the host's name."""
    connect_timeout: Nanoseconds = 30 * SECOND
    tells_faults: bool = True
    """False with `no_email_faults`."""
    tells_checkers: bool = True
    """False with `no_checker_emails`: no mail for each checker, but for real servers."""


@dataclass(frozen=True, slots=True)
class Scripts:
    """Who runs scripts, and those of the daemon itself."""

    user: str | None = None
    """`script_user`; None is keepalived_script where that user exists, otherwise the daemon's."""
    group: str | None = None
    """None is the user's own group."""
    is_secure: bool = False
    """`enable_script_security`."""
    has_supplementary_groups: bool = False
    keeps_symbolic_links: bool = False
    """`use_symlink_paths`."""
    startup: Command | None = None
    startup_timeout: Nanoseconds = 10 * SECOND
    shutdown: Command | None = None
    shutdown_timeout: Nanoseconds = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Fifo:
    """A FIFO that is told of changes of state, and the script that reads it."""

    path: str
    user: str | None = None
    group: str | None = None
    script: Command | None = None


@dataclass(frozen=True, slots=True)
class Fifos:
    """`notify_fifo` and its sisters."""

    all: Fifo | None = None
    vrrp: Fifo | None = None
    lvs: Fifo | None = None
    tells_states_on_reload: bool = False
    """`fifo_write_vrrp_states_on_reload`."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of keepalived: its name and how it is scheduled."""

    name: str | None = None
    priority: int = 0
    """Nice value."""
    is_locked: bool = False
    """Its memory is not swapped."""
    cpus: tuple[int, ...] = ()
    """Processors it may run on; none is any."""
    realtime_priority: int | None = None
    realtime_limit: Nanoseconds = 10_000_000
    """Processor time without a pause that a realtime process may take (`rlimit_rttime`)."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes, and what they do alike."""

    parent_name: str | None = None
    has_names: bool = False
    """`process_names`: what has no name of its own has keepalived's."""
    vrrp: Process = Process()
    checker: Process = Process()
    bfd: Process = Process()
    automatic_priority: int = 0
    """`max_auto_priority`: highest realtime priority that a late process gives itself; 0 is none,
    -1 none without a warning."""
    automatic_priority_delay: Nanoseconds = SECOND
    """How late that is."""
    child_wait: Nanoseconds = 5 * SECOND
    """How long children may take to end."""
    umask: int = 0o177
    instance: str | None = None
    """Name of this daemon among others on the machine."""
    has_pid_directory: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """Files that the daemon reads and writes beside the configuration."""

    temporary_directory: str | None = None
    save_directory: str | None = None
    """`config_save_dir`."""
    checks_before_reload: bool = False
    """`reload_check_config`."""
    check_log: str | None = None
    reload_time: str | None = None
    repeats_reload: bool = False
    has_reload_file: bool = False
    reload_file: str | None = None
    """None is keepalived.reload beside the PID files."""
    names_with_instance: bool = False
    """`data_use_instance`."""
    state: str | None = None
    statistics: str | None = None
    json: str | None = None
    json_version: int = 1
    iproute_shared: str | None = None
    """`iproute_usr_dir`."""
    iproute_local: str | None = None
    """`iproute_etc_dir`."""


class DynamicInterfaces(IntEnum):
    """Whether interfaces may come later than the daemon."""

    NO = 0
    YES = 1
    ALSO_CHANGED = 2
    """`allow_if_changes`: also as another kind of interface."""


@dataclass(frozen=True, slots=True)
class Vrrp:
    """What holds for VRRP as a whole."""

    is_strict: bool = False
    startup_delay: Nanoseconds = 0
    delay_after_boot: Nanoseconds = 0
    dynamic_interfaces: DynamicInterfaces = DynamicInterfaces.NO
    default_interface: str = "eth0"
    logs_unknown_vrids: bool = False
    vmac_prefix: str = "vrrp"
    vmac_address_prefix: str = "vrrp"
    """Beginning of names of VMACs of addresses: `vmac_prefix` where none was written."""
    disables_local_igmp: bool = False
    polls_links: bool = False
    """`linkbeat_use_polling`: of every interface."""


class BufferPolicy(IntEnum):
    """`vrrp_rx_bufs_policy`: what the size of a receive buffer follows."""

    SYSTEM = 0
    MTU = 1
    ADVERT = 2
    BYTES = 3


@dataclass(frozen=True, slots=True)
class Buffer:
    """Receive buffer of one kind of socket."""

    size: int | None = None
    """In bytes; None is the system's."""
    is_forced: bool = False
    """Also above net.core.rmem_max."""


@dataclass(frozen=True, slots=True)
class Buffers:
    """Receive buffers."""

    vrrp_commands: Buffer = Buffer()
    vrrp_monitor: Buffer = Buffer()
    lvs_commands: Buffer = Buffer()
    lvs_monitor: Buffer = Buffer()
    process_monitor: Buffer = Buffer()
    adverts: BufferPolicy = BufferPolicy.SYSTEM
    adverts_size: int | None = None
    """In bytes, of BufferPolicy.BYTES."""
    adverts_multiplier: int = 3


@dataclass(frozen=True, slots=True)
class Firewall:
    """How packets to addresses are dropped, and packets of groups marked."""

    uses_nftables: bool = False
    """`nftables` was written; where neither it nor `vrrp_iptables` was, the daemon chooses."""
    table: str = "keepalived"
    priority: int = -1
    counts: bool = False
    has_indexes: bool = False
    """`nftables_ifindex`: rules name interfaces by index."""
    marks_for_ipvs: bool = False
    """`nftables_ipvs`."""
    ipvs_table: str = "keepalived_ipvs"
    ipvs_priority: int | None = None
    """None is the daemon's choice."""
    ipvs_first_mark: int = 1000
    uses_iptables: bool = False
    input_chain: str = "INPUT"
    output_chain: str | None = None
    ipsets: tuple[str, ...] | None = None
    """Names of ipsets beside iptables; None is keepalived's names, and no name is no ipsets."""


class FlushOnStop(IntEnum):
    """`lvs_flush_on_stop`: how IPVS is emptied at the end."""

    EACH = 0
    """Each real and virtual server by itself."""
    ALL = 1
    VIRTUAL_SERVERS = 2


@dataclass(frozen=True, slots=True)
class SyncDaemon:
    """`lvs_sync_daemon`: shares the connections of IPVS."""

    interface: str
    instance: str | None = None
    """The virtual router that it follows; None runs both halves all the time."""
    id: int | None = None
    """None is the VRID of that virtual router, or 0."""
    max_length: int | None = None
    """Of its packets, in bytes; None is what the interface's MTU has room for."""
    port: int = 8848
    ttl: int = 1
    group: Address = b"\xe0\x00\x00\x51"


@dataclass(frozen=True, slots=True)
class Lvs:
    """What holds for IPVS as a whole."""

    sync_daemon: SyncDaemon | None = None
    tcp_timeout: Nanoseconds | None = None
    """How long IPVS keeps a connection; None leaves the kernel's."""
    tcp_fin_timeout: Nanoseconds | None = None
    udp_timeout: Nanoseconds | None = None
    flushes_at_start: bool = False
    flush_on_stop: FlushOnStop = FlushOnStop.EACH
    notifies_at_start: bool = False
    """`rs_init_notifies`."""


@dataclass(frozen=True, slots=True)
class Snmp:
    """SNMP, by AgentX."""

    socket: str = "unix:/var/agentx/master"
    vrrp: bool = False
    """keepalived's own MIB."""
    checkers: bool = False
    rfc_v2: bool = False
    """RFC 2787."""
    rfc_v3: bool = False
    """RFC 6527."""
    traps: bool = False
    virtual_server_interval: Nanoseconds = 5 * SECOND
    """Age of statistics."""
    real_server_interval: Nanoseconds = 5 * SECOND


@dataclass(frozen=True, slots=True)
class Dbus:
    """D-Bus."""

    is_enabled: bool = False
    service: str = "org.keepalived.Vrrp1"
    no_interface: str = "none"
    """What stands for an interface where there is none."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Network namespaces of the daemon."""

    network: str | None = None
    """`net_namespace`; None is that in which the daemon was started."""
    ipvs: str | None = None
    """`net_namespace_ipvs`; None is `network`, and an empty name the one of the start."""
    has_ipsets: bool = False
    """`namespace_with_ipsets`."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What Prometheus is told, and where it asks."""

    listen: str | None = None
    """`metrics_listen`: [ADDRESS]:PORT; None serves no metrics."""
    has_keepalived_names: bool = False
    """`metrics_compat keepalived_exporter`."""
    web_configuration: str | None = None
    """`metrics_web_config`: a file with TLS and users, as Prometheus exporters have it."""


@dataclass(frozen=True, slots=True)
class GlobalDefinitions:
    """What holds for the whole daemon."""

    router_id: str = ""
    garp_interval: Nanoseconds = 0
    """Between two gratuitous ARPs on one interface; 0 is none."""
    gna_interval: Nanoseconds = 0
    """Between two unsolicited neighbour advertisements on one interface."""
    vrrp: Vrrp = Vrrp()
    namespaces: Namespaces = Namespaces()
    scripts: Scripts = Scripts()
    fifos: Fifos = Fifos()
    mail: Mail = Mail()
    processes: Processes = Processes()
    files: Files = Files()
    buffers: Buffers = Buffers()
    firewall: Firewall = Firewall()
    lvs: Lvs = Lvs()
    snmp: Snmp = Snmp()
    dbus: Dbus = Dbus()
    metrics: Metrics = Metrics()
