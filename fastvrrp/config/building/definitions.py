"""The part of the model for the whole daemon."""

from __future__ import annotations

import re

from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.definitions import Defaults
from fastvrrp.config.options import Options
from fastvrrp.model import (
    SECOND,
    Buffer,
    BufferPolicy,
    Buffers,
    Dbus,
    DynamicInterfaces,
    Fifo,
    Fifos,
    Files,
    Firewall,
    FlushOnStop,
    GlobalDefinitions,
    Lvs,
    Mail,
    Metrics,
    Namespaces,
    Process,
    Processes,
    Scripts,
    Snmp,
    SyncDaemon,
    Vrrp,
)

MICROSECOND = 1000
HIGHEST_PRIORITY = 99
"""sched_get_priority_max(SCHED_RR)."""
REALTIME_LIMIT = 10_000 * MICROSECOND
MODE_BIT = re.compile(r"I(RWX|[RWX])(USR|GRP|OTH|[UGO])")
RIGHTS = {"R": 4, "W": 2, "X": 1, "RWX": 7}
CLASSES = {"U": 6, "G": 3, "O": 0}
"""Places of user, group and others in a file mode."""


def global_definitions(defaults: Defaults) -> GlobalDefinitions:
    """Everything of `global_defs` and of the keywords at the top."""
    users = ScriptUsers.of(defaults)
    return GlobalDefinitions(
        router_id=defaults.text("router_id") or "",
        garp_interval=defaults.number("vrrp_garp_interval"),
        gna_interval=defaults.number("vrrp_gna_interval"),
        vrrp=_vrrp(defaults),
        namespaces=_namespaces(defaults),
        scripts=_scripts(defaults, users),
        fifos=_fifos(defaults, users),
        mail=_mail(defaults),
        processes=_processes(defaults),
        files=_files(defaults),
        buffers=_buffers(defaults),
        firewall=_firewall(defaults),
        lvs=_lvs(defaults),
        snmp=_snmp(defaults),
        dbus=Dbus(
            defaults.is_on("enable_dbus"),
            defaults.text("dbus_service_name") or "",
            defaults.text("dbus_no_interface_name") or "",
        ),
        metrics=Metrics(
            defaults.text("metrics_listen"),
            defaults.value("metrics_compat") is not None,
            defaults.text("metrics_web_config"),
        ),
    )


def _vrrp(defaults: Defaults) -> Vrrp:
    dynamic = defaults.value("dynamic_interfaces")
    prefix = defaults.text("vmac_prefix") or ""
    return Vrrp(
        is_strict=defaults.is_on("vrrp_strict"),
        startup_delay=defaults.number("vrrp_startup_delay"),
        delay_after_boot=defaults.number("vrrp_delay_after_boot"),
        dynamic_interfaces=DynamicInterfaces.ALSO_CHANGED
        if dynamic == "allow_if_changes"
        else DynamicInterfaces(dynamic is True),
        default_interface=defaults.text("default_interface") or "",
        logs_unknown_vrids=defaults.is_on("log_unknown_vrids"),
        vmac_prefix=prefix,
        vmac_address_prefix=defaults.text("vmac_addr_prefix") or prefix,
        disables_local_igmp=defaults.is_on("disable_local_igmp"),
        polls_links=defaults.top.is_on("linkbeat_use_polling"),
    )


def _namespaces(defaults: Defaults) -> Namespaces:
    ipvs = defaults.top.value("net_namespace_ipvs")
    return Namespaces(
        defaults.top.text("net_namespace"),
        "" if ipvs is True else defaults.top.text("net_namespace_ipvs"),
        defaults.top.is_on("namespace_with_ipsets"),
    )


def _scripts(defaults: Defaults, users: ScriptUsers) -> Scripts:
    user, group = defaults.script_user()
    return Scripts(
        user=user,
        group=group,
        is_secure=defaults.is_on("enable_script_security"),
        has_supplementary_groups=defaults.is_on("set_supplementary_groups"),
        keeps_symbolic_links=defaults.is_on("use_symlink_paths"),
        startup=users.settled(defaults.command("startup_script")),
        startup_timeout=defaults.number("startup_script_timeout") * SECOND,
        shutdown=users.settled(defaults.command("shutdown_script")),
        shutdown_timeout=defaults.number("shutdown_script_timeout") * SECOND,
    )


def _fifos(defaults: Defaults, users: ScriptUsers) -> Fifos:
    def fifo(keyword: str) -> Fifo | None:
        value = defaults.value(keyword)
        if not isinstance(value, tuple):
            return None
        path, user, group = value
        return Fifo(path, user, group, users.settled(defaults.command(f"{keyword}_script")))

    return Fifos(
        fifo("notify_fifo"),
        fifo("vrrp_notify_fifo"),
        fifo("lvs_notify_fifo"),
        defaults.is_on("fifo_write_vrrp_states_on_reload"),
    )


def _mail(defaults: Defaults) -> Mail:
    server = defaults.written.get("smtp_server")
    host, port = server if isinstance(server, tuple) else (None, None)
    return Mail(
        recipients=tuple(defaults.recipients),
        sender=defaults.text("notification_email_from"),
        server=host,
        port=port or Mail().port,
        helo_name=_named(defaults, "smtp_helo_name"),
        connect_timeout=defaults.number("smtp_connect_timeout") * SECOND,
        tells_faults=not defaults.is_on("no_email_faults"),
        tells_checkers=not defaults.is_on("no_checker_emails"),
    )


def _named(defaults: Defaults, keyword: str) -> str | None:
    value = defaults.written.get(keyword)
    return value if isinstance(value, str) else None


def _processes(defaults: Defaults) -> Processes:
    def process(name: str) -> Process:
        cpus = defaults.value(f"{name}_cpu_affinity")
        limit = defaults.optional_number(f"{name}_rlimit_rttime")
        return Process(
            defaults.text(f"{name}_process_name"),
            defaults.number(f"{name}_priority"),
            defaults.is_on(f"{name}_no_swap"),
            cpus if isinstance(cpus, tuple) else (),
            defaults.optional_number(f"{name}_rt_priority"),
            REALTIME_LIMIT if limit is None else limit * MICROSECOND,
        )

    highest = defaults.value("max_auto_priority")
    return Processes(
        parent_name=defaults.text("process_name"),
        has_names=defaults.is_on("process_names"),
        vrrp=process("vrrp"),
        checker=process("checker"),
        bfd=process("bfd"),
        automatic_priority=HIGHEST_PRIORITY
        if highest is True
        else defaults.number("max_auto_priority"),
        automatic_priority_delay=defaults.number("min_auto_priority_delay") * MICROSECOND,
        child_wait=defaults.top.number("child_wait_time") * SECOND,
        umask=_file_mode(defaults.text("umask") or ""),
        instance=defaults.top.text("instance"),
        has_pid_directory=defaults.top.is_on("use_pid_dir"),
    )


def _file_mode(word: str) -> int:
    """A file mode in one of the ways that C writes numbers, or by the names of its bits."""
    if word[:1].isdigit():
        base = 16 if word[:2].lower() == "0x" else 8 if word.startswith("0") else 10
        return int(word, base)
    mode = 0
    for rights, who in MODE_BIT.findall(word):
        mode |= RIGHTS[rights] << CLASSES[who[0]]
    return mode


def _files(defaults: Defaults) -> Files:
    return Files(
        temporary_directory=defaults.text("tmp_config_directory"),
        save_directory=defaults.text("config_save_dir"),
        checks_before_reload="reload_check_config" in defaults.written,
        check_log=defaults.text("reload_check_config"),
        reload_time=defaults.text("reload_time_file"),
        repeats_reload=defaults.is_on("reload_repeat"),
        has_reload_file="reload_file" in defaults.written,
        reload_file=_named(defaults, "reload_file"),
        names_with_instance=defaults.is_on("data_use_instance"),
        state=defaults.text("state_file_location"),
        statistics=defaults.text("stats_file_location"),
        json=defaults.text("json_file_location"),
        json_version=defaults.number("json_version"),
        iproute_shared=_named(defaults, "iproute_usr_dir"),
        iproute_local=_named(defaults, "iproute_etc_dir"),
    )


def _buffers(defaults: Defaults) -> Buffers:
    def buffer(part: str) -> Buffer:
        return Buffer(
            defaults.optional_number(f"{part}_rcv_bufs"), defaults.is_on(f"{part}_rcv_bufs_force")
        )

    policy = defaults.text("vrrp_rx_bufs_policy") or "SYSTEM"
    size = int(policy) if policy.isdigit() else None
    return Buffers(
        buffer("vrrp_netlink_cmd"),
        buffer("vrrp_netlink_monitor"),
        buffer("lvs_netlink_cmd"),
        buffer("lvs_netlink_monitor"),
        buffer("process_monitor"),
        BufferPolicy[policy] if size is None else BufferPolicy.BYTES,
        size,
        defaults.number("vrrp_rx_bufs_multiplier"),
    )


def _firewall(defaults: Defaults) -> Firewall:
    plainest = Firewall()
    chains = defaults.written.get("vrrp_iptables")
    input_chain, output_chain = chains if isinstance(chains, tuple) else (None, None)
    if isinstance(chains, tuple) and input_chain is None:
        output_chain = "OUTPUT"
    ipsets = defaults.written.get("vrrp_ipsets")
    return Firewall(
        uses_nftables="nftables" in defaults.written,
        table=defaults.text("nftables") or plainest.table,
        priority=defaults.number("nftables_priority"),
        counts=defaults.is_on("nftables_counters"),
        has_indexes=defaults.is_on("nftables_ifindex"),
        marks_for_ipvs="nftables_ipvs" in defaults.written,
        ipvs_table=_named(defaults, "nftables_ipvs") or plainest.ipvs_table,
        ipvs_priority=defaults.optional_number("nftables_ipvs_priority"),
        ipvs_first_mark=defaults.number("nftables_ipvs_start_fwmark"),
        uses_iptables=isinstance(chains, tuple),
        input_chain=input_chain or plainest.input_chain,
        output_chain=output_chain,
        ipsets=ipsets if isinstance(ipsets, tuple) else None,
    )


def _lvs(defaults: Defaults) -> Lvs:
    timeouts = defaults.value("lvs_timeouts")

    def timeout(name: str) -> int | None:
        value = timeouts.get(name) if isinstance(timeouts, Options) else None
        return value * SECOND if isinstance(value, int) else None

    flush = FlushOnStop.EACH
    if "lvs_flush_on_stop" in defaults.written:
        is_partial = defaults.written["lvs_flush_on_stop"] == "VS"
        flush = FlushOnStop.VIRTUAL_SERVERS if is_partial else FlushOnStop.ALL
    return Lvs(
        _sync_daemon(defaults.value("lvs_sync_daemon")),
        timeout("tcp"),
        timeout("tcpfin"),
        timeout("udp"),
        defaults.is_on("lvs_flush"),
        flush,
        defaults.is_on("rs_init_notifies"),
    )


def _sync_daemon(options: object) -> SyncDaemon | None:
    interface = options.get("interface") if isinstance(options, Options) else None
    if not isinstance(options, Options) or not isinstance(interface, str):
        return None
    plainest = SyncDaemon(interface)

    def number(name: str) -> int | None:
        value = options.get(name)
        return value if isinstance(value, int) else None

    instance = options.get("inst") or options.get("instance")
    group = options.get("group")
    return SyncDaemon(
        interface,
        instance if isinstance(instance, str) else None,
        number("id"),
        number("maxlen"),
        number("port") or plainest.port,
        number("ttl") or plainest.ttl,
        group if isinstance(group, bytes) else plainest.group,
    )


def _snmp(defaults: Defaults) -> Snmp:
    is_both = defaults.is_on("enable_snmp_rfc")
    return Snmp(
        socket=defaults.text("snmp_socket") or "",
        vrrp=defaults.is_on("enable_snmp_vrrp"),
        checkers=defaults.is_on("enable_snmp_checker"),
        rfc_v2=is_both or defaults.is_on("enable_snmp_rfcv2"),
        rfc_v3=is_both or defaults.is_on("enable_snmp_rfcv3"),
        traps=defaults.is_on("enable_traps"),
        virtual_server_interval=defaults.number("snmp_vs_stats_update_interval"),
        real_server_interval=defaults.number("snmp_rs_stats_update_interval"),
    )
