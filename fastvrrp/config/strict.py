"""`vrrp_strict` and `strict_mode`: an instance is held to what the RFC has.

What the RFC does not have is complained of and taken away before the virtual router is built, as
keepalived does; what only deserves a word (the first IPv6 address) stays. Packets to the addresses
of an instance are for their owner alone, unless VRRPv3 and `accept` say otherwise.
"""

from __future__ import annotations

from dataclasses import replace

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.grammar import VmacWords
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.config.written import AF_INET6, Written, is_link_local
from fastvrrp.model import State

ADVERTS = 3
"""Master_Down_Interval is three advert intervals and Skew_Time (RFC 9568 section 6.1)."""
LOWER_PRIORITY_GARP = ("garp_lower_prio_delay", "garp_lower_prio_repeat")
"""Announcements after an advert of lower priority: the RFC has none."""


class Compliance:
    """Holds one instance to the RFC; `written` loses what the RFC does not have."""

    def __init__(self, instance: Entry, written: Written, complaints: Complaints) -> None:
        self._instance = instance
        self._written = written
        self._complaints = complaints
        self._last = written.last

    def enforce(self, *, version: int, is_owner: bool, default_adverts: int) -> None:
        """Take away what the RFC does not have, with a complaint of each."""
        self._match_state(is_owner)
        self._check_first_address()
        if "auth_type" in self._last:
            self._remove("auth_type", "authentication", "adverts carry none")
        self._last.pop("auth_pass", None)
        delay = self._last.get("preempt_delay")
        if delay is not None and delay.value and not is_owner:
            self._remove("preempt_delay", "preempt_delay", "it takes over at once")
        self._reset_adverts(default_adverts)
        higher = self._last.get("higher_prio_send_advert")
        if higher is not None and higher.value is True:
            self._remove(
                "higher_prio_send_advert",
                "higher_prio_send_advert",
                "a master that hears a higher priority sends nothing more",
            )
        lower = self._last.get("lower_prio_no_advert")
        if lower is not None and lower.value is False:
            self._remove(
                "lower_prio_no_advert",
                "lower_prio_no_advert off",
                "a master does not answer a lower priority",
            )
        self._reset_announcements()
        self._reset_vmac()
        if version == 2 and not is_owner and (accept := self._accept()) is not None:
            self._complain(accept, "accept", "only VRRPv3 has it, and packets are refused")

    def accepts_data(self, *, version: int, is_owner: bool) -> bool:
        """Whether packets to the addresses are taken (Accept_Mode, RFC 9568 section 6.1)."""
        if is_owner:
            return True
        return "no_accept" not in self._last and version == 3 and self._accept() is not None

    def _complain(self, statement: Statement, what: str, instead: str) -> None:
        self._complaints.warning(
            statement, 0, f"{what} is ignored: {self._written.name} is strict, and {instead}"
        )

    def _remove(self, keyword: str, what: str, instead: str) -> None:
        self._complain(self._last.pop(keyword).statement, what, instead)

    def _match_state(self, is_owner: bool) -> None:
        """Only the owner starts as MASTER, and it never starts as BACKUP."""
        state = self._last.get("state")
        if state is None or (state.value == State.MASTER) == is_owner:
            return
        self._remove(
            "state",
            f"state {state.statement.words[1]}",
            "the owner (priority 255) starts as MASTER"
            if is_owner
            else "only the owner (priority 255) starts as MASTER",
        )

    def _check_first_address(self) -> None:
        """RFC 9568 section 5.2.9."""
        addresses = self._written.addresses
        if addresses and self._written.family == AF_INET6 and not is_link_local(addresses[0][0]):
            self._complaints.warning(
                addresses[0][1],
                0,
                f"{self._written.name} is strict, and its first address is not link-local;"
                " write an address of fe80::/10 before it",
            )

    def _reset_adverts(self, default: int) -> None:
        entry = self._last.pop("down_timer_adverts", None)
        statement = self._instance.statement if entry is None else entry.statement
        value = default if entry is None else entry.value
        if value != ADVERTS:
            keyword = "vrrp_down_timer_adverts" if entry is None else "down_timer_adverts"
            self._complain(statement, keyword, f"{ADVERTS} is taken")

    def _reset_announcements(self) -> None:
        for entry in self._instance.entries:
            if entry.keyword.name in LOWER_PRIORITY_GARP and entry.value:
                self._complain(
                    entry.statement,
                    entry.keyword.name,
                    "nothing is announced after a lower priority",
                )
        self._written.garp.update(dict.fromkeys(LOWER_PRIORITY_GARP, 0))

    def _reset_vmac(self) -> None:
        vmac = self._last.get("use_vmac")
        if vmac is not None and isinstance(vmac.value, VmacWords) and vmac.value.mac is not None:
            self._complaints.warning(
                vmac.statement,
                0,
                f"the MAC address of use_vmac is ignored: {self._written.name} is strict, and the"
                " virtual router's own is taken",
            )
            words = replace(vmac.value, mac=None)
            self._last["use_vmac"] = Entry(vmac.keyword, vmac.statement, words)
        if "vmac_xmit_base" in self._last:
            self._remove("vmac_xmit_base", "vmac_xmit_base", "adverts leave from the virtual MAC")

    def _accept(self) -> Statement | None:
        """The line of `accept`."""
        for entry in self._instance.entries:
            if entry.keyword.name == "accept":
                return entry.statement
        return None
