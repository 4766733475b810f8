"""The real servers of one virtual server: which of them get connections, and how many.

A pool is pure: verdicts of checkers come in, and out come the destinations that are wanted and the
news of what has changed, in keepalived's order: weights, servers, the quorum, the sorry server.

- A real server is up when all its checkers are good; without a checker it always is.
- Its weight is the configured one and what each dynamic checker adds to that: a FILE_CHECK what its
  file says, a MISC_CHECK the difference to the weight that it asks for; one that is bad adds
  nothing. It is never below 0.
- The quorum is lost when the servers that are up weigh less than `quorum - hysteresis`, and gained
  when they weigh `quorum + hysteresis`.
- Without a quorum the sorry server is the only one that gets connections; where there is none, the
  servers that are up go on.
- What inhibits is not removed but has weight 0.
- Over a reload a real server stays as it was until a check says otherwise, also when its checkers
  are others: alpha is for the start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from fastvrrp.lvs.check import Verdict
from fastvrrp.lvs.naming import kind_name
from fastvrrp.lvs.news import (
    CheckerNews,
    News,
    Occasion,
    QuorumNews,
    ServerNews,
    SorryNews,
    WeightNews,
)
from fastvrrp.model import (
    BfdCheck,
    Checker,
    FileCheck,
    IpvsDestinationKey,
    MiscCheck,
    RealServer,
    SorryServer,
    VirtualServer,
)

SORRY_WEIGHT = 1
HEAVIEST = 2**31 - 1
"""Weight that IPVS can count."""
Wanted: TypeAlias = dict[IpvsDestinationKey, tuple[RealServer | SorryServer, int]]
"""Servers that are to be destinations, with their weights."""


@dataclass(slots=True)
class _Member:
    """A real server, and what is known of it."""

    model: RealServer
    opinions: dict[Checker, bool] = field(default_factory=dict)
    """Whether it is good, by each of its checkers."""
    additions: dict[Checker, int] = field(default_factory=dict)
    """To its weight, by dynamic checkers."""
    is_told: bool = True
    """False while it is down by alpha alone: its first failure is told, though it is no change."""

    @property
    def is_up(self) -> bool:
        return all(self.opinions.values())

    @property
    def weight(self) -> int:
        return min(max(self.model.weight + sum(self.additions.values()), 0), HEAVIEST)

    @property
    def share(self) -> int:
        """Its part of the weight of all that are up."""
        return self.weight if self.is_up else 0


class Pool:
    """Begins with `start` or `adopt`, and ends with `end` or `remove`."""

    def __init__(self, model: VirtualServer, *, notifies_at_start: bool = False) -> None:
        """`notifies_at_start` is `rs_init_notifies`."""
        self.model = model
        self._notifies_at_start = notifies_at_start
        self._members: dict[IpvsDestinationKey, _Member] = {}
        self._weight = 0
        self._has_quorum = False
        self._sorry: SorryServer | None = None
        """The sorry server while it gets connections."""

    @property
    def has_quorum(self) -> bool:
        return self._has_quorum

    def is_up(self, key: IpvsDestinationKey) -> bool:
        """Whether a real server is up. Raises KeyError where there is none at this address."""
        return self._members[key].is_up

    @property
    def weight(self) -> int:
        """Of all real servers that are up."""
        return self._weight

    @property
    def is_sorry(self) -> bool:
        """Whether the sorry server gets the connections."""
        return self._sorry is not None

    @property
    def standings(self) -> Iterator[tuple[IpvsDestinationKey, bool, int]]:
        """Every real server in the order of the model: whether it is up, and its weight."""
        for model in self.model.real_servers:
            key = key_of(model)
            member = self._members.get(key)
            yield (key, False, 0) if member is None else (key, member.is_up, member.weight)

    @property
    def wanted(self) -> Wanted:
        """What the kernel is to have."""
        sorry = self.model.sorry_server
        is_serving = self._has_quorum or sorry is None
        wanted: Wanted = {}
        for key, member in self._members.items():
            if is_serving and member.is_up:
                wanted[key] = member.model, member.weight
            elif member.model.inhibits:
                wanted[key] = member.model, 0
        if sorry is not None:
            if not self._has_quorum:
                wanted[key_of(sorry)] = sorry, SORRY_WEIGHT
            elif sorry.inhibits:
                wanted.setdefault(key_of(sorry), (sorry, 0))
        return wanted

    def start(self) -> list[News]:
        """The virtual server is new."""
        news: list[News] = []
        for model in self.model.real_servers:
            news += self._enter(model)
        self._weigh_all()
        self._settle(news, Occasion.START)
        return news

    def adopt(self, weights: Mapping[IpvsDestinationKey, int]) -> None:
        """Goes on where another process ended: `weights` are those of the destinations that the
        kernel has. What was up stays up until a check says otherwise, and nobody is told."""
        sorry = self.model.sorry_server
        keys = {key_of(model) for model in self.model.real_servers}
        is_replaced = (
            sorry is not None
            and key_of(sorry) not in keys
            and weights.get(key_of(sorry), 0) > 0
            and not any(weights.get(key, 0) > 0 for key in keys)
        )
        for model in self.model.real_servers:
            weight = weights.get(key_of(model))
            was_up = weight is not None and (weight > 0 or model.weight == 0 or not model.inhibits)
            member = _Member(model, dict.fromkeys(model.checkers, was_up and not is_replaced))
            if member.is_up and weight is not None and weight != model.weight:
                # Who of several has asked for it is not known: the first one answers for it.
                asking = next((each for each in model.checkers if is_dynamic(each)), None)
                if asking is not None:
                    member.additions[asking] = weight - model.weight
            self._members[key_of(model)] = member
        self._weigh_all()
        self._has_quorum = not is_replaced and self.weight >= (
            self.model.quorum - self.model.hysteresis
        )
        self._sorry = None if self._has_quorum else sorry

    def take(self, key: IpvsDestinationKey, checker: Checker, verdict: Verdict) -> list[News]:
        """A checker has something to say of the real server at an address. Of one that a reload has
        taken away meanwhile nothing comes."""
        member = self._members.get(key)
        if member is None or checker not in member.opinions:
            return []
        news: list[News] = []
        was_up, share = member.is_up, member.share
        if verdict.is_good:
            news += self._weigh(member, checker, verdict)
        else:
            member.additions.pop(checker, None)
        was_good = member.opinions[checker]
        member.opinions[checker] = verdict.is_good
        is_up = member.is_up
        if verdict.is_good != was_good:
            news.append(CheckerNews(member.model, checker, verdict.is_good, is_up, is_up != was_up))
        why = "" if verdict.is_good else f"{kind_name(checker)}: {verdict.why or 'it failed'}"
        if is_up != was_up:
            news.append(ServerNews(member.model, is_up, Occasion.CHECK, why=why))
            member.is_told = True
        elif not verdict.is_good and not member.is_told:
            news.append(ServerNews(member.model, False, Occasion.FIRST_CHECK, why=why))
            member.is_told = True
        self._weight += member.share - share
        self._settle(news, Occasion.CHECK)
        return news

    def change(self, model: VirtualServer) -> list[News]:
        """A reload says another thing of this virtual server."""
        self.model = model
        news: list[News] = []
        before, self._members = self._members, {}
        kept = {key_of(each) for each in model.real_servers}
        for key, member in before.items():
            if key not in kept and member.is_up:
                news.append(ServerNews(member.model, False, Occasion.REMOVAL))
        for real in model.real_servers:
            old = before.get(key_of(real))
            news += self._enter(real) if old is None else self._go_on(old, real)
        self._weigh_all()
        self._settle(news, Occasion.CHECK)
        return news

    def remove(self) -> list[News]:
        """A reload takes the virtual server away."""
        return list(self._empty(Occasion.REMOVAL, tells=True))

    def end(self) -> list[News]:
        """The daemon stops."""
        return list(self._empty(Occasion.END, tells=self.model.runs_scripts_at_end))

    def _enter(self, model: RealServer) -> Iterator[News]:
        member = _Member(model, {each: starts_good(each) for each in model.checkers})
        member.is_told = member.is_up
        self._members[key_of(model)] = member
        if member.is_up and self._notifies_at_start:
            yield ServerNews(model, True, Occasion.START)

    def _go_on(self, old: _Member, model: RealServer) -> Iterator[News]:
        """One that was there before, with another model. Checkers that are new think of it what was
        thought until now: that it is up, or is down for what a checker found that has gone."""
        was_up = old.is_up
        kept = {each: good for each, good in old.opinions.items() if each in model.checkers}
        presumed = was_up or not all(kept.values())
        member = _Member(
            model,
            {each: kept.get(each, presumed) for each in model.checkers},
            dict(_kept_additions(old, model)),
            old.is_told,
        )
        self._members[key_of(model)] = member
        if member.weight != old.weight:
            yield WeightNews(model, old.weight, member.weight, was_up)
        if member.is_up != was_up:
            member.is_told = True
            yield ServerNews(model, member.is_up, Occasion.CHECK)

    def _weigh(self, member: _Member, checker: Checker, verdict: Verdict) -> Iterator[News]:
        before = member.weight
        if verdict.weight is None:
            member.additions.pop(checker, None)
        elif isinstance(checker, FileCheck):
            member.additions[checker] = verdict.weight
        else:
            member.additions[checker] = verdict.weight - member.model.weight
        if member.weight != before:
            yield WeightNews(member.model, before, member.weight, member.is_up)

    def _weigh_all(self) -> None:
        self._weight = sum(member.share for member in self._members.values())

    def _settle(self, news: list[News], occasion: Occasion) -> None:
        """Finds out whether there is a quorum, and what that means for the sorry server."""
        hysteresis = self.model.hysteresis
        had_quorum = self._has_quorum
        limit = self.model.quorum + (-hysteresis if had_quorum else hysteresis)
        self._has_quorum = self._weight >= limit
        sorry = None if self._has_quorum else self.model.sorry_server
        # At the start there was no quorum: that there is still none matters to a sorry server.
        starts_down = occasion is Occasion.START and sorry is not None
        if self._has_quorum != had_quorum or starts_down:
            news.append(self._quorum_news(occasion))
        before, self._sorry = self._sorry, sorry
        is_same = before is not None and sorry is not None and key_of(before) == key_of(sorry)
        if is_same:
            return
        swaps = before is None or sorry is None
        if before is not None:
            news.append(SorryNews(before, False, swaps))
        if sorry is not None:
            news.append(SorryNews(sorry, True, swaps))

    def _quorum_news(self, occasion: Occasion) -> QuorumNews:
        return QuorumNews(
            self._has_quorum, self.model.quorum, self.model.hysteresis, self.weight, occasion
        )

    def _empty(self, occasion: Occasion, *, tells: bool) -> Iterator[News]:
        """Every server goes, one after the other; no sorry server comes for them."""
        for member in list(self._members.values()):
            was_up = member.is_up
            self._weight -= member.share
            del self._members[key_of(member.model)]
            if was_up or occasion is Occasion.END:
                is_quiet = not (tells and was_up)
                yield ServerNews(member.model, False, occasion, is_quiet, was_up)
            is_short = self.weight < self.model.quorum - self.model.hysteresis
            if self._has_quorum and is_short:
                self._has_quorum = False
                if tells:
                    yield self._quorum_news(occasion)


def key_of(server: RealServer | SorryServer) -> IpvsDestinationKey:
    """What tells a server apart from the others of its virtual server."""
    return IpvsDestinationKey(server.address, server.port)


def is_dynamic(checker: Checker) -> bool:
    """Whether a checker has a say in the weight of its server."""
    return isinstance(checker, FileCheck | MiscCheck) and checker.is_dynamic


def _kept_additions(old: _Member, model: RealServer) -> Iterator[tuple[Checker, int]]:
    """What checkers had added to a weight, after a reload. What a script asks for stays as it is
    whatever weight is written; a checker that is new has what the one before it had, where that was
    of its kind and is gone."""
    left = [each for each in old.additions if each not in model.checkers]
    for checker in model.checkers:
        before = checker
        if checker not in old.additions:
            alike = [each for each in left if type(each) is type(checker) and is_dynamic(checker)]
            if checker in old.opinions or not alike:
                continue
            before = alike[0]
            left.remove(before)
        more = old.additions[before]
        if not isinstance(checker, FileCheck):
            more += old.model.weight - model.weight
        yield checker, more


def starts_good(checker: Checker) -> bool:
    """Whether a server is up, for a checker, before it was checked: not with alpha."""
    if isinstance(checker, FileCheck):
        return True
    if isinstance(checker, BfdCheck):
        return not checker.is_down_at_first
    return not checker.timing.is_down_at_first
