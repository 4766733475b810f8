"""keepalived.data: everything in words, a line each, with keepalived's labels and sections.

Left out is what only keepalived has: its sockets by interface, its descriptors.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from socket import AF_INET6

from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    Authentication,
    Command,
    Notifications,
    Process,
    State,
    Tracker,
    TrackScript,
    VirtualRouter,
)
from fastvrrp.observe.dumps.facts import LinkFacts, RouterFacts, Whole
from fastvrrp.observe.dumps.words import address_words, command_words, route_words, rule_words

MICROSECOND = 1000
HEADING = "------< Global definitions >------\n"
AUTHENTICATIONS = {
    Authentication.NONE: "none",
    Authentication.PASS: "SIMPLE_PASSWORD",
    Authentication.AH: "IPSEC_AH",
}


def document(routers: Iterable[RouterFacts], whole: Whole) -> Iterator[str]:
    """The file, in pieces of one virtual router, or other thing, each."""
    yield HEADING + _text(global_lines(whole))
    yield "------< VRRP Topology >------\n"
    for router in routers:
        for each in router.model.tracked:
            user = (router.model.name, each.weight)
            whole.users.setdefault((each.kind, each.name), []).append(user)
        yield _text(router_lines(router))
    yield from _sections(whole)


def _text(lines: Iterable[str]) -> str:
    return "".join(f" {line}\n" for line in lines)


def _is(value: object) -> str:
    return "true" if value else "false"


def _enabled(value: object) -> str:
    return "enabled" if value else "disabled"


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _moment(seconds: float) -> str:
    whole = int(seconds)
    micro = round((seconds - whole) * 1_000_000)
    day = time.strftime("%a %b %e %H:%M:%S", time.localtime(whole))
    return f"{whole}.{micro:06} ({day}.{micro:06} {time.localtime(whole).tm_year})"


def parent_lines(whole: Whole) -> str:
    """keepalived_parent.data."""
    return HEADING + _text(global_lines(whole))


def global_lines(whole: Whole) -> Iterator[str]:
    """Global definitions."""
    definitions = whole.configuration.definitions
    processes, vrrp, files = definitions.processes, definitions.vrrp, definitions.files
    yield f"Network namespace = {definitions.namespaces.network or '(default)'}"
    yield f"Network namespace ipvs = {definitions.namespaces.ipvs or '(main namespace)'}"
    if processes.instance:
        yield f"Instance name = {processes.instance}"
    for label, process in _processes(whole):
        if process.name:
            yield f"{label} process name = {process.name}"
    yield f"Router ID = {definitions.router_id}"
    mail = definitions.mail
    if mail.server is not None:
        yield f"Smtp server = {mail.server}"
        yield f"Smtp server port = {mail.port}"
    if mail.sender is not None:
        yield f"Email notification from = {mail.sender}"
    if mail.recipients:
        yield "Email notification"
        yield from (f"  {recipient}" for recipient in mail.recipients)
    yield f"Dynamic interfaces = {_is(vrrp.dynamic_interfaces)}"
    yield f"Default interface = {vrrp.default_interface}"
    yield f"Disable local IGMP = {_yes(vrrp.disables_local_igmp)}"
    yield f"LVS flush = {_is(definitions.lvs.flushes_at_start)}"
    if files.names_with_instance:
        yield "Use instance name in data dumps"
    fifos = definitions.fifos
    for label, fifo in (("Global", fifos.all), ("VRRP", fifos.vrrp), ("LVS", fifos.lvs)):
        if fifo is not None:
            yield f"{label} notify fifo = {fifo.path}"
            if fifo.script is not None:
                yield f"{label} notify fifo script = {command_words(fifo.script)}"
    yield f"FIFO write vrrp states on reload = {_is(fifos.tells_states_on_reload)}"
    yield f"Gratuitous ARP interval = {definitions.garp_interval / SECOND:.6f}"
    yield f"Gratuitous NA interval = {definitions.gna_interval / SECOND:.6f}"
    yield f"VRRP strict mode = {_is(vrrp.is_strict)}"
    yield f"Max auto priority = {processes.automatic_priority}"
    yield f"Min auto priority delay = {processes.automatic_priority_delay // MICROSECOND} usecs"
    for label, process in _processes(whole):
        yield f"{label} process priority = {process.priority}"
        yield f"{label} don't swap = {_is(process.is_locked)}"
        yield f"{label} realtime priority = {process.realtime_priority or 0}"
        yield f"{label} realtime limit = {process.realtime_limit // MICROSECOND}"
    yield f"Script security {_enabled(definitions.scripts.is_secure)}"
    yield f"umask = {processes.umask:#05o}".replace("0o", "0")


def _processes(whole: Whole) -> Iterator[tuple[str, Process]]:
    processes = whole.configuration.definitions.processes
    yield "VRRP", processes.vrrp
    yield "Checker", processes.checker
    yield "BFD", processes.bfd


def router_lines(facts: RouterFacts) -> Iterator[str]:
    """One virtual router, from its name on."""
    yield f"VRRP Instance = {facts.model.name}"
    for line in _router(facts):
        yield f"  {line}"


def _router(facts: RouterFacts) -> Iterator[str]:
    model = facts.model
    yield f"VRRP Version = {model.version}"
    if facts.group is not None:
        yield f"Sync group = {facts.group}"
    if model.family == AF_INET6:
        yield "Using Native IPv6"
    state = State(facts.record["state"]).name
    yield f"State = {state}"
    yield from _master(facts)
    yield "Flags:" if model.unicast_peers else "Flags: none"
    if model.unicast_peers:
        yield "  Using unicast"
    yield f"Wantstate = {state}"
    yield "Number of config faults = 0"
    yield f"Number of interface and track script faults = {facts.faults}"
    yield f"Number of track scripts init = {int(facts.is_waiting)}"
    if facts.changed_at:
        yield f"Last transition = {_moment(facts.changed_at)}"
    deadline = "DISABLED" if facts.deadline is None else _moment(facts.deadline)
    yield f"Read timeout = {deadline}"
    yield f"Master down timer = {facts.record['master_down_interval'] // MICROSECOND} usecs"
    yield from _interface(facts)
    yield from _protocol(facts)
    yield from _addresses(facts)
    yield from _tracked(model)
    yield from _notifications(model.notifications)


def _follows(facts: RouterFacts) -> bool:
    """Whether it is the backup of a master that was heard."""
    return bool(facts.record["state"] == State.BACKUP and facts.record["heard_at"])


def _master(facts: RouterFacts) -> Iterator[str]:
    if not _follows(facts):
        return
    yield f"Master router = {ip_address(facts.record['master_address'])}"
    yield f"Master priority = {facts.record['master_priority']}"
    if facts.model.version == 3:
        yield f"Master advert int = {facts.record['master_interval'] / SECOND:.2f} sec"


def _interface(facts: RouterFacts) -> Iterator[str]:
    model = facts.model
    vmac = model.vmac
    if vmac is None:
        yield f"Interface = {model.interface}"
    else:
        is_up = _is(facts.record["ifindex"])
        on_parent = _is(vmac.transmit_on_parent)
        yield f"Use VMAC, i/f name {vmac.name}, is_up = {is_up}, xmit_base = {on_parent}"
        yield f"Interface = {vmac.name}, vmac on {model.interface}"
    if not model.tracks_interface:
        yield "VRRP interface tracking disabled"
    if model.skips_known_addresses:
        yield "Skip checking advert IP addresses"
    if model.options.is_strict:
        yield "Enforcing strict VRRP compliance"
    source = facts.record["source"]
    if any(source):
        origin = " (from configuration)" if model.source_address is not None else ""
        yield f"Using src_ip = {ip_address(source)}{origin}"
    if not model.unicast_peers:
        scope = f", ifindex {facts.record['ifindex']}" if model.family == AF_INET6 else ""
        yield f"Multicast address {ip_address(model.multicast_group)}{scope}"


def _protocol(facts: RouterFacts) -> Iterator[str]:
    model = facts.model
    announced = model.announcements
    yield f"Gratuitous ARP delay = {announced.master_delay // SECOND}"
    yield f"Gratuitous ARP repeat = {announced.master_repeat}"
    yield f"Gratuitous ARP refresh = {announced.master_refresh // SECOND}"
    yield f"Gratuitous ARP refresh repeat = {announced.master_refresh_repeat}"
    yield f"Gratuitous ARP lower priority delay = {announced.lower_prio_delay // SECOND}"
    yield f"Gratuitous ARP lower priority repeat = {announced.lower_prio_repeat}"
    yield f"Down timer adverts = {model.down_timer_adverts}"
    lower, higher = not model.lower_prio_no_advert, model.higher_prio_send_advert
    yield f"Send advert after receive lower priority advert = {_is(lower)}"
    yield f"Send advert after receive higher priority advert = {_is(higher)}"
    yield f"Virtual Router ID = {model.vrid}"
    yield f"Priority = {model.priority}"
    yield f"Effective priority = {facts.record['priority']}"
    yield f"Total priority = {facts.record['priority']}"
    yield f"Advert interval = {_interval(model)}"
    if model.version == 3 and _follows(facts):
        yield f"Master advert interval = {facts.record['master_interval'] // MILLISECOND} milli-sec"
    yield f"Accept = {_enabled(model.accept)}"
    yield f"Preempt = {_enabled(model.preempt)}"
    if model.preempt_delay:
        yield f"Preempt delay = {model.preempt_delay / SECOND:g} secs"
    promotes = model.options.promotes_secondaries and model.vmac is None
    yield f"Promote_secondaries = {_enabled(promotes)}"
    if model.version == 2:
        yield f"Authentication type = {AUTHENTICATIONS[model.authentication]}"
    if model.authentication == Authentication.PASS:
        yield f"Password = {model.password.decode(errors='replace')}"


def _interval(model: VirtualRouter) -> str:
    if model.version == 2:
        return f"{model.advert_interval // SECOND} sec"
    return f"{model.advert_interval // MILLISECOND} milli-sec"


def _addresses(facts: RouterFacts) -> Iterator[str]:
    model = facts.model
    for label, addresses in (
        (f"Virtual IP ({len(model.addresses)}):", model.addresses),
        ("Virtual IP Excluded :", model.excluded_addresses),
    ):
        if addresses:
            yield label
        for address in addresses:
            words = address_words(
                model, address, is_set=facts.has_addresses, drops=facts.drops_packets
            )
            yield f"  {words}"
    if model.unicast_peers:
        yield f"Unicast TTL = {model.unicast_ttl}"
        yield f"Check unicast src : {_yes(model.checks_unicast_source)}"
        yield "Unicast Peer :"
        for peer in model.unicast_peers:
            limits = f"min_ttl {peer.min_ttl} max_ttl {peer.max_ttl}"
            yield f"  {ip_address(peer.address)} {limits}"
    if model.options.routes:
        yield "Virtual Routes :"
        yield from (f"  {route_words(route)}" for route in model.options.routes)
    if model.options.rules:
        yield "Virtual Rules :"
        yield from (f"  {rule_words(rule)}" for rule in model.options.rules)


def _tracked(model: VirtualRouter) -> Iterator[str]:
    for kind, label, comma in (
        (Tracker.INTERFACE, "Tracked interfaces :", ""),
        (Tracker.SCRIPT, "Tracked scripts :", ""),
        (Tracker.FILE, "Tracked files :", ","),
        (Tracker.PROCESS, "Tracked processes :", ","),
    ):
        found = [each for each in model.tracked if each.kind == kind]
        if found:
            yield label
        for each in found:
            is_reversed = " reverse" if each.is_reversed else ""
            yield f"  {each.name}{comma} weight {each.weight}{is_reversed}"


def _notifications(notified: Notifications) -> Iterator[str]:
    yield f"Using smtp notification = {_yes(notified.sends_mail)}"
    yield f"Notify deleted = {'Deleted' if notified.says_deleted else 'Fault'}"
    scripts: tuple[tuple[str, Command | None], ...] = (
        ("Backup", notified.backup),
        ("Master", notified.master),
        ("Fault", notified.fault),
        ("Stop", notified.stop),
        ("Deleted", notified.deleted),
        ("Generic", notified.any_state),
        ("Master rx lower pri", notified.master_rx_lower_priority),
    )
    for label, script in scripts:
        if script is not None:
            yield f"{label} state transition script = {command_words(script)}"
    yield f"Notify priority changes = {_is(notified.says_priority_changes)}"


def _sections(whole: Whole) -> Iterator[str]:
    """What comes behind the virtual routers."""
    if whole.groups:
        yield "------< VRRP Sync groups >------\n"
    members = {each.name: each for each in whole.configuration.sync_groups}
    for name, state in whole.groups:
        group = members[name]
        lines = [f"VRRP Sync Group = {name}, {state.name}", "  VRRP member instances :"]
        lines += [f"    {member}" for member in group.members]
        lines.append(f"  Using smtp notification = {_yes(group.notifications.sends_mail)}")
        yield _text(lines)
    if whole.configuration.track_scripts:
        yield "------< VRRP Scripts >------\n"
    for script in whole.configuration.track_scripts:
        yield _text(_script(script, whole))
    if whole.configuration.track_files:
        yield "------< VRRP Track files >------\n"
    for file in whole.configuration.track_files:
        lines = [f"Track file = {file.name}", f"  File = {file.path}"]
        lines.append(f"  Status = {whole.state_of(Tracker.FILE, file.name) or 0}")
        lines.append(f"  Weight = {file.weight}{' reverse' if file.is_reversed else ''}")
        yield _text([*lines, *_users(whole, Tracker.FILE, file.name)])
    yield from _process_section(whole)
    yield "------< Interfaces >------\n"
    for link in whole.links:
        yield _text(_link(link))


def _script(script: TrackScript, whole: Whole) -> Iterator[str]:
    state = whole.state_of(Tracker.SCRIPT, script.name)
    yield f"VRRP Script = {script.name}"
    yield f"  Command = {command_words(script.command)}"
    yield f"  Interval = {script.interval / SECOND:g} sec"
    yield f"  Timeout = {script.timeout / SECOND:g} sec"
    yield f"  Weight = {script.weight}{' reverse' if script.is_reversed else ''}"
    yield f"  Rise = {script.rise}"
    yield f"  Fall = {script.fall}"
    yield f"  Init state = {'failed' if script.fails_at_first else 'unknown'}"
    yield f"  Status = {'INIT' if state is None else 'GOOD' if state else 'BAD'}"
    yield from _users(whole, Tracker.SCRIPT, script.name)
    yield "  State = idle"


def _users(whole: Whole, kind: Tracker, name: str) -> Iterator[str]:
    yield "  Tracking instances :"
    for user, weight in whole.users.get((kind, name), ()):
        yield f"    {user}, weight {weight}"


def _process_section(whole: Whole) -> Iterator[str]:
    if whole.configuration.track_processes:
        yield "------< VRRP Track processes >------\n"
    for process in whole.configuration.track_processes:
        name = process.name
        lines = [f"VRRP Track process = {name}", f"  Process = {process.process}"]
        if process.parameters:
            lines.append(f"  Parameters = {' '.join(process.parameters)}")
        lines.append(f"  Min processes = {process.quorum}")
        if process.quorum_max is not None:
            lines.append(f"  Max processes = {process.quorum_max}")
        lines.append(f"  Current processes = {whole.processes.get(name, 0)}")
        lines.append(f"  Have quorum = {_is(whole.state_of(Tracker.PROCESS, name))}")
        lines.append(f"  Weight = {process.weight}{' reverse' if process.is_reversed else ''}")
        lines.append(f"  Terminate delay = {process.terminate_delay / SECOND:.6f}s")
        lines.append(f"  Fork delay = {process.fork_delay / SECOND:.6f}s")
        lines.append(f"  Full command = {_is(process.full_command)}")
        yield _text([*lines, *_users(whole, Tracker.PROCESS, name)])


def _link(link: LinkFacts) -> Iterator[str]:
    yield f"Name = {link.name}"
    yield f"  index = {link.number}"
    for address in link.addresses:
        yield f"  IPv{6 if ':' in address else 4} address = {address}"
    if any(link.mac):
        yield f"  MAC = {link.mac.hex(':')}"
    running = ", RUNNING" if link.is_running else ""
    yield f"  State = {'UP' if link.is_up else 'DOWN'}{running}"
    yield f"  MTU = {link.mtu}"
