"""keepalived.json: the virtual routers as objects with keepalived's keys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastvrrp.model import SECOND, ParameterMatch, State, Tracker, VirtualRouter
from fastvrrp.observe.dumps.facts import RouterFacts, Whole
from fastvrrp.observe.dumps.words import address_words, command_words, route_words, rule_words

MATCHES = {
    ParameterMatch.ANY: "none",
    ParameterMatch.EXACT: "exact",
    ParameterMatch.PARTIAL: "partial",
    ParameterMatch.INITIAL: "initial",
}


def document(routers: Iterable[RouterFacts], whole: Whole, version: int) -> Iterator[str]:
    """The file, in pieces of one virtual router each; `version` is that of `json_version`."""
    scripts = {each.name: command_words(each.command) for each in whole.configuration.track_scripts}
    yield "[" if version == 1 else '{"vrrp":['
    comma = ""
    for router in routers:
        made = {"data": data_of(router, scripts), "stats": router.counts}
        yield comma + json.dumps(made, separators=(",", ":"), ensure_ascii=False)
        comma = ","
    if version == 1:
        yield "]\n"
        return
    processes = json.dumps(list(_processes(whole)), separators=(",", ":"), ensure_ascii=False)
    yield f'],"track_process":{processes}}}\n'


def data_of(facts: RouterFacts, scripts: Mapping[str, str]) -> dict[str, Any]:
    """`data` of one virtual router; `scripts` are the commands of tracked scripts by their name."""
    model, record = facts.model, facts.record
    announcements = model.announcements
    vmac = model.vmac.name if model.vmac is not None else ""
    was_heard = bool(record["heard_at"])
    state = int(record["state"])
    made: dict[str, Any] = {
        "iname": model.name,
        "dont_track_primary": int(not model.tracks_interface),
        "skip_check_adv_addr": int(model.skips_known_addresses),
        "strict_mode": int(model.options.is_strict),
        "vmac_ifname": vmac,
        "ifp_ifname": vmac or model.interface,
        "master_priority": record["master_priority"] if was_heard else 0,
        "last_transition": facts.changed_at,
        "garp_delay": announcements.master_delay // SECOND,
        "garp_refresh": announcements.master_refresh // SECOND,
        "garp_rep": announcements.master_repeat,
        "garp_refresh_rep": announcements.master_refresh_repeat,
        "garp_lower_prio_delay": announcements.lower_prio_delay // SECOND,
        "garp_lower_prio_rep": announcements.lower_prio_repeat,
        "lower_prio_no_advert": int(model.lower_prio_no_advert),
        "higher_prio_send_advert": int(model.higher_prio_send_advert),
        "vrid": model.vrid,
        "base_priority": model.priority,
        "effective_priority": record["priority"],
        "vipset": facts.has_addresses,
        "promote_secondaries": model.options.promotes_secondaries and model.vmac is None,
        "adver_int": _seconds(model.advert_interval),
        "master_adver_int": _seconds(
            record["master_interval"] if state == State.BACKUP and was_heard else 0
        )
        or _seconds(model.advert_interval),
        "accept": int(model.accept),
        "nopreempt": not model.preempt,
        "preempt_delay": _seconds(model.preempt_delay),
        "state": state,
        "wantstate": state,
        "version": model.version,
        "smtp_alert": model.notifications.sends_mail,
        "notify_deleted": model.notifications.says_deleted,
    }
    made |= _scripts(model)
    made |= _lists(facts, scripts)
    made["auth_type"] = int(model.authentication)
    if model.authentication:
        made["auth_data"] = model.password.decode(errors="replace")
    return made


def _seconds(nanoseconds: int) -> int | float:
    whole, rest = divmod(nanoseconds, SECOND)
    return nanoseconds / SECOND if rest else whole


def _scripts(model: VirtualRouter) -> dict[str, str]:
    notified = model.notifications
    commands = {
        "script_backup": notified.backup,
        "script_master": notified.master,
        "script_fault": notified.fault,
        "script_stop": notified.stop,
        "script_deleted": notified.deleted,
        "script": notified.any_state,
        "script_master_rx_lower_pri": notified.master_rx_lower_priority,
    }
    return {key: command_words(each) for key, each in commands.items() if each is not None}


def _lists(facts: RouterFacts, scripts: Mapping[str, str]) -> dict[str, list[str]]:
    """Lists, of which empty ones are left out."""
    model = facts.model
    is_set, drops = facts.has_addresses, facts.drops_packets

    def tracked(kind: Tracker) -> list[str]:
        return [each.name for each in model.tracked if each.kind == kind]

    lists = {
        "vips": [
            address_words(model, each, is_set=is_set, drops=drops) for each in model.addresses
        ],
        "evips": [
            address_words(model, each, is_set=is_set, drops=drops)
            for each in model.excluded_addresses
        ],
        "vroutes": [route_words(each) for each in model.options.routes],
        "vrules": [rule_words(each) for each in model.options.rules],
        "track_ifp": tracked(Tracker.INTERFACE),
        "track_script": [scripts.get(name, name) for name in tracked(Tracker.SCRIPT)],
    }
    return {key: each for key, each in lists.items() if each}


def _processes(whole: Whole) -> Iterator[dict[str, Any]]:
    for process in whole.configuration.track_processes:
        yield {
            "process": process.process,
            "param_match": MATCHES[process.match],
            "min_processes": process.quorum,
            "current_processes": whole.processes.get(process.name, 0),
            "have_quorum": bool(whole.state_of(Tracker.PROCESS, process.name)),
            "weight": process.weight,
            "terminate_delay": process.terminate_delay // 1000,
            "fork_delay": process.fork_delay // 1000,
            "fork_delay_timer_running": False,
            "terminate_delay_timer_running": False,
            "full_command": process.full_command,
        }
