"""Rows of the table for the daemon as a whole: most of `global_defs`, and what is at the top."""

from __future__ import annotations

from fastvrrp.config.arguments import (
    NAMESPACE,
    Address,
    Boolean,
    Choice,
    Integer,
    Interface,
    Matching,
    Seconds,
    Text,
)
from fastvrrp.config.commands import Script
from fastvrrp.config.keywords import FLAG, INNER_BLOCK, Keyword, Table, later
from fastvrrp.config.options import OptionLine
from fastvrrp.config.syntax import Line, Many, One, Optional, Several, Switch, Syntax
from fastvrrp.model import MILLISECOND, SECOND

NAME = Text("NAME")
PATH = Text("PATH")
USER = Text("USER")
GROUP = Text("GROUP")
BOOLEAN = Boolean()
SWITCH = Switch(BOOLEAN)
INTERFACE = Interface()
NUMBER = Integer(0, 2**32 - 1)
PRIORITY = Integer(-20, 19)
REALTIME = Integer(1, 99)
RLIMIT = Integer(1, 2**32 - 1)
CPUS = Many(Integer(0, 4095))
SCRIPT = Script()
SCRIPT_TIMEOUT = One(Integer(1, 1000))
FIFO = Several(Text("FIFO"), USER, GROUP, optional=2)
NFTABLES_PRIORITY = One(Integer(-(2**31), 2**31 - 1))
PORT = Integer(1, 65535)
UMASK = Matching(
    "NUMBER|BITS",
    r"0[xX][0-9A-Fa-f]+|[0-9]+"
    r"|I(?:[RWX](?:USR|GRP|OTH)|RWX[UGO])(?:\|I(?:[RWX](?:USR|GRP|OTH)|RWX[UGO]))*",
    "is no file mode; write a number, or bits as IRGRP|IWGRP",
)
RECEIVE_BUFFERS = Matching("MTU|ADVERT|BYTES", r"MTU|ADVERT|[0-9]{1,10}", "is no buffer size")
LISTEN = Matching(
    "[ADDRESS]:PORT",
    r"(?:\[[0-9A-Fa-f:.]+(?:%[^\]/]+)?\]|[0-9.]+|\*)?"
    r":(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4})",
    "is no address with a port; write :9165, 192.0.2.1:9165 or [2001:db8::1]:9165",
)
STARTUP_DELAY = One(Seconds(MILLISECOND, 4_294_967_295_000))
"""keepalived counts microseconds in 32 bits."""

SYNC_DAEMON = OptionLine(
    {
        "inst": NAME,
        "id": Integer(0, 255),
        "maxlen": Integer(1, 65507),
        "port": PORT,
        "ttl": Integer(1, 255),
        "group": Address(),
    },
    {"interface": INTERFACE, "instance": NAME},
    least=1,
)
TIMEOUTS = OptionLine(
    dict.fromkeys(("tcp", "tcpfin", "udp"), Integer(1, 2**31 - 1)), needs_an_option=True
)


def _processes(
    suffix: str,
    syntax: Syntax,
    text: str,
    default: str = "",
    *,
    since: str = "",
    replaced_by: str = "",
) -> list[Keyword]:
    """The same row for each process of keepalived."""
    return [
        (later if process == "bfd" else Keyword)(
            f"{process}_{suffix}",
            syntax,
            f"{text} of the {process} process.",
            default,
            since=since,
            replaced_by=f"{process}_{replaced_by}" if replaced_by else "",
        )
        for process in ("vrrp", "checker", "bfd")
    ]


DAEMON = Table().add(
    later("tmp_config_directory", One(PATH), "Where the configuration is copied while read."),
    later("config_save_dir", One(PATH), "Where configurations are kept around a reload."),
    Keyword("process_names", FLAG, "Give processes the names of their default."),
    Keyword("process_name", One(NAME), "Name of the parent process.", since="2.0.16"),
    Keyword("vrrp_process_name", One(NAME), "Name of the VRRP process.", since="2.0.16"),
    Keyword(
        "checker_process_name", One(NAME), "Name of the health checkers' process.", since="2.0.16"
    ),
    Keyword(
        "lvs_process_name",
        One(NAME),
        "Name of the health checkers' process.",
        replaced_by="checker_process_name",
    ),
    later("bfd_process_name", One(NAME), "Name of the BFD process.", since="2.0.16"),
    Keyword(
        "use_symlink_paths", SWITCH, "Keep symbolic links in script paths.", "off", since="2.2.8"
    ),
    Keyword("set_supplementary_groups", FLAG, "Run scripts in all groups.", since="2.3"),
    Keyword("startup_script", SCRIPT, "Script run once before anything else."),
    Keyword("startup_script_timeout", SCRIPT_TIMEOUT, "Seconds that it may take.", "10"),
    Keyword("shutdown_script", SCRIPT, "Script run once after everything else."),
    Keyword("shutdown_script_timeout", SCRIPT_TIMEOUT, "Seconds that it may take.", "10"),
    Keyword(
        "notification_email",
        INNER_BLOCK,
        "Who is mailed to.",
        items=Line(Text("ADDRESS")),
        is_repeatable=True,
    ),
    Keyword(
        "notification_email_from",
        One(Text("ADDRESS")),
        "Who mails are from.",
        fallback="keepalived@ and the host's name",
    ),
    Keyword(
        "smtp_server",
        Several(Text("HOST"), PORT, optional=1),
        "Where mail goes.",
        fallback="port 25 where none is written",
    ),
    Keyword("smtp_helo_name", One(NAME), "Name in HELO.", fallback="the host's name"),
    Keyword("smtp_connect_timeout", One(Integer(1, 4294)), "Seconds to connect.", "30"),
    Keyword(
        "smtp_alert",
        SWITCH,
        "Mail about everything by default.",
        fallback="off, of real servers on",
    ),
    Keyword("smtp_alert_vrrp", SWITCH, "Mail about VRRP by default.", fallback="smtp_alert"),
    Keyword(
        "smtp_alert_checker", SWITCH, "Mail about real servers by default.", fallback="smtp_alert"
    ),
    Keyword("checker_log_all_failures", SWITCH, "Log every failed check.", "off", since="2.0.11"),
    Keyword("no_email_faults", FLAG, "No mail about FAULT."),
    Keyword(
        "default_interface",
        One(INTERFACE),
        "Interface of static addresses.",
        "eth0",
        since="1.2.24",
    ),
    Keyword(
        "lvs_sync_daemon",
        SYNC_DAEMON,
        "Share the connections of IPVS.",
        fallback="port 8848, group 224.0.0.81, id the VRID of the instance or 0",
        since="1.2.20",
    ),
    Keyword("lvs_timeouts", TIMEOUTS, "Seconds that IPVS keeps a connection."),
    Keyword("lvs_flush", FLAG, "Empty IPVS at the start.", since="1.2.23"),
    Keyword(
        "lvs_flush_on_stop",
        Optional(Choice({"VS": "VS"})),
        "Empty IPVS at the end.",
        since="2.0.15",
    ),
    Keyword(
        "lvs_flush_onstop",
        Optional(Choice({"VS": "VS"})),
        "Empty IPVS at the end.",
        replaced_by="lvs_flush_on_stop",
    ),
    later(
        "vrrp_iptables",
        Several(Text("INPUT"), Text("OUTPUT"), optional=2),
        "iptables chains for packets to addresses.",
        fallback="INPUT and OUTPUT where no chain is written",
        since="1.2.20",
    ),
    later(
        "vrrp_ipsets",
        Many(NAME, least=0),
        "ipsets beside iptables.",
        "keepalived keepalived6 keepalived_if6 keepalived_igmp keepalived_mld keepalived_vmac_nd",
        since="1.2.20",
    ),
    Keyword(
        "nftables",
        Optional(NAME),
        "nftables table for packets to addresses.",
        fallback="keepalived where no name is written",
        since="2.0.11",
    ),
    Keyword("nftables_priority", NFTABLES_PRIORITY, "Priority of its chains.", "-1"),
    Keyword("nftables_counters", FLAG, "Count packets in its rules."),
    later("nftables_ifindex", FLAG, "Rules name interfaces by index."),
    Keyword("nftables_ipvs", Optional(NAME), "nftables table that marks packets of groups."),
    Keyword("nftables_ipvs_priority", NFTABLES_PRIORITY, "Priority of its chains."),
    Keyword("nftables_ipvs_start_fwmark", One(Integer(1, 2**32 - 1)), "First mark.", "1000"),
    Keyword("disable_local_igmp", FLAG, "No IGMP for 224.0.0.0/24."),
    Keyword("vrrp_strict", FLAG, "Refuse what the RFC does not have.", since="1.2.20"),
    Keyword(
        "vrrp_notify_priority_changes", SWITCH, "Tell FIFOs of priorities.", "off", since="2.0.16"
    ),
    Keyword(
        "max_auto_priority",
        Optional(Integer(-1, 99)),
        "Highest automatic priority.",
        "0",
        since="2.1.0",
    ),
    Keyword(
        "min_auto_priority_delay",
        One(Integer(1, 10_000_000)),
        "Microseconds late that raise the priority.",
        "1000000",
    ),
    *_processes("priority", One(PRIORITY), "Nice value", "0"),
    *_processes("no_swap", FLAG, "Lock the memory"),
    *_processes("cpu_affinity", CPUS, "Processors", since="2.0.17"),
    *_processes("rt_priority", One(REALTIME), "Realtime priority"),
    *_processes("rlimit_rttime", One(RLIMIT), "Microseconds of realtime without a pause", "10000"),
    *_processes(
        "rlimit_rtime",
        One(RLIMIT),
        "Microseconds of realtime without a pause",
        replaced_by="rlimit_rttime",
    ),
    later("snmp_socket", One(Text("SOCKET")), "SNMP's master agent.", "unix:/var/agentx/master"),
    later("enable_snmp_vrrp", FLAG, "SNMP: keepalived's MIB, VRRP."),
    later("enable_snmp_keepalived", FLAG, "SNMP.", replaced_by="enable_snmp_vrrp"),
    later("enable_snmp_checker", FLAG, "SNMP: keepalived's MIB, checkers."),
    later("enable_snmp_rfc", FLAG, "SNMP: the MIBs of VRRP."),
    later("enable_snmp_rfcv2", FLAG, "SNMP: the MIB of VRRPv2."),
    later("enable_snmp_rfcv3", FLAG, "SNMP: the MIB of VRRPv3."),
    later("enable_traps", FLAG, "SNMP traps."),
    later(
        "snmp_vs_stats_update_interval",
        One(Seconds(1_000_000, 30 * SECOND)),
        "Age of statistics of virtual servers.",
        "5",
        since="2.2.8",
    ),
    later(
        "snmp_rs_stats_update_interval",
        One(Seconds(1_000_000, 30 * SECOND)),
        "Age of statistics of real servers.",
        "5",
        since="2.2.8",
    ),
    later("enable_dbus", FLAG, "D-Bus.", since="1.3.0"),
    later("dbus_service_name", One(NAME), "Name on D-Bus.", "org.keepalived.Vrrp1"),
    later("dbus_no_interface_name", One(NAME), "Name for no interface.", "none", since="2.2.8"),
    Keyword(
        "script_user",
        Several(USER, GROUP, optional=1),
        "Who runs scripts.",
        fallback="keepalived_script where that user exists, otherwise root",
    ),
    Keyword(
        "enable_script_security",
        FLAG,
        "Run no script as root that others may write.",
        since="1.3.0",
    ),
    Keyword(
        "notify_split_brain",
        SCRIPT,
        "Script run when another master does not yield, and when that is over.",
        is_ours=True,
    ),
    Keyword(
        "metrics_listen",
        One(LISTEN),
        "Tell Prometheus of everything there, at /metrics; without an address on loopback.",
        is_ours=True,
    ),
    Keyword(
        "metrics_compat",
        One(Choice({"keepalived_exporter": "keepalived_exporter"})),
        "Tell it by the names of keepalived-exporter too.",
        is_ours=True,
    ),
    Keyword(
        "metrics_web_config",
        One(PATH),
        "File with TLS and users for metrics_listen, as Prometheus exporters have it.",
        is_ours=True,
    ),
    Keyword("notify_fifo", FIFO, "FIFO that is told everything.", since="1.3.6"),
    Keyword("notify_fifo_script", SCRIPT, "Script that reads it.", since="1.3.6"),
    Keyword("vrrp_notify_fifo", FIFO, "FIFO that is told of virtual routers.", since="1.3.6"),
    Keyword("vrrp_notify_fifo_script", SCRIPT, "Script that reads it.", since="1.3.6"),
    Keyword("lvs_notify_fifo", FIFO, "FIFO that is told of servers.", since="1.3.6"),
    Keyword("lvs_notify_fifo_script", SCRIPT, "Script that reads it.", since="1.3.6"),
    Keyword("fifo_write_vrrp_states_on_reload", FLAG, "Tell FIFOs all states at a reload."),
    Keyword(
        "dynamic_interfaces",
        Optional(Choice({"allow_if_changes": "allow_if_changes"})),
        "Interfaces may come later.",
    ),
    *[
        later(
            f"{part}_rcv_bufs{force}",
            SWITCH if force else One(NUMBER),
            "Netlink buffers.",
            "off" if force else "",
            fallback="" if force else "the system's size",
        )
        for part in (
            "vrrp_netlink_cmd",
            "vrrp_netlink_monitor",
            "lvs_netlink_cmd",
            "lvs_netlink_monitor",
            "process_monitor",
        )
        for force in ("", "_force")
    ],
    Keyword(
        "vrrp_rx_bufs_policy",
        One(RECEIVE_BUFFERS),
        "Bytes of the receive buffer for each instance; all of one family share one socket.",
        fallback="16 MiB for all",
        since="2.0.3",
    ),
    Keyword(
        "vrrp_rx_bufs_multiplier",
        One(Integer(1, 2**32 - 1), is_alone=True),
        "How many times MTU or ADVERT of vrrp_rx_bufs_policy.",
        "3",
        since="2.0.3",
    ),
    Keyword("rs_init_notifies", SWITCH, "Notify of real servers at the start.", default="off"),
    Keyword("no_checker_emails", SWITCH, "No mail for each checker.", since="2.0.0", default="off"),
    Keyword(
        "umask",
        One(UMASK),
        "Rights that nobody gets to what the daemon and its scripts create.",
        "IXUSR|IRWXG|IRWXO",
        since="2.0.9",
    ),
    Keyword(
        "vrrp_startup_delay",
        STARTUP_DELAY,
        "Time from the start of the daemon in which no instance becomes master.",
        fallback="none",
        since="2.0.14",
    ),
    Keyword(
        "vrrp_delay_after_boot",
        STARTUP_DELAY,
        "Time from the machine's boot in which no instance becomes master.",
        fallback="none",
        since="2.4.0",
    ),
    Keyword(
        "log_unknown_vrids",
        FLAG,
        "Log adverts that nobody is configured for: once for each VRID of an interface.",
        since="2.0.16",
    ),
    Keyword(
        "vmac_addr_prefix",
        One(Text("PREFIX")),
        "Beginning of names of VMACs of addresses.",
        fallback="vmac_prefix",
    ),
    Keyword(
        "random_seed", One(NUMBER), "Where the numbers of ${_RANDOM} start.", fallback="the time"
    ),
    Keyword("reload_check_config", Optional(PATH), "Check before a reload."),
    Keyword(
        "include_check",
        Many(Text("OPTION"), least=0),
        "Which missing files are errors.",
        fallback="every option where none is written",
    ),
    Keyword("reload_time_file", One(PATH), "File that says when to reload.", since="2.1.0"),
    Keyword("reload_repeat", FLAG, "Keep that file."),
    Keyword(
        "reload_file",
        Optional(PATH),
        "File that stands while the configuration is read.",
        fallback="keepalived.reload beside the PID files where no path is written",
    ),
    Keyword("data_use_instance", SWITCH, "Put the instance into names of dumps.", "off"),
    Keyword("state_file_location", One(PATH), "Where dumps go.", since="2.2.8"),
    Keyword("stats_file_location", One(PATH), "Where statistics go.", since="2.2.8"),
    Keyword("json_file_location", One(PATH), "Where JSON goes.", since="2.2.8"),
    Keyword("json_version", One(Integer(1, 2)), "Version of that JSON.", "1", since="2.2.8"),
    Keyword(
        "iproute_usr_dir",
        One(PATH),
        "Where iproute2 keeps names.",
        since="2.3",
        default="/usr/share/iproute2",
    ),
    Keyword(
        "iproute_etc_dir",
        One(PATH),
        "Where they may be overridden.",
        since="2.3",
        default="/etc/iproute2",
    ),
)
"""Rows of `global_defs` beside those that fastvrrp acts on."""

AT_TOP = (
    Keyword("net_namespace", One(NAMESPACE), "Network namespace to run in.", since="1.2.24"),
    Keyword(
        "net_namespace_ipvs",
        Optional(NAME),
        "Network namespace of IPVS.",
        fallback="the default namespace where no name is written",
    ),
    later(
        "namespace_with_ipsets", FLAG, "ipsets in a namespace, before Linux 3.13.", since="1.3.0"
    ),
    Keyword("instance", One(NAME), "Name of this daemon among others.", since="1.2.24"),
    Keyword("use_pid_dir", FLAG, "PID files in a directory of their own.", since="1.2.24"),
    Keyword("linkbeat_use_polling", FLAG, "Ask interfaces for their link.", since="1.1.18"),
    Keyword(
        "child_wait_time",
        One(NUMBER),
        "Seconds that checkers have for their end, a minute at least.",
        "5",
    ),
)
