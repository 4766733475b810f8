from typing import Literal

StateName = Literal["INIT", "BACKUP", "MASTER", "FAULT"]
EventName = Literal["START", "TIMER", "ADVERT", "FAIL", "STOP", "PROMOTE", "DEMOTE", "RESIGN"]
MembershipName = Literal["ALONE", "MEMBER", "OWNING_MEMBER"]
RestraintName = Literal["UNRESTRAINED", "YIELDING", "ABSTAINING"]

STATE_NAMES: tuple[StateName, ...]
EVENT_NAMES: tuple[EventName, ...]
ACTION_NAMES: tuple[str, ...]
GUARD_NAMES: tuple[str, ...]
TIMER_NAMES: tuple[str, ...]
MEMBERSHIP_NAMES: tuple[MembershipName, ...]
RESTRAINT_NAMES: tuple[RestraintName, ...]
TABLE: tuple[tuple[StateName, EventName, tuple[str, ...], StateName, str, tuple[str, ...]], ...]

class Machine:
    def __init__(
        self,
        *,
        version: int = 3,
        priority: int = 100,
        advert_interval: int = 1_000_000_000,
        preempt: bool = True,
        preempt_delay: int = 0,
        down_timer_adverts: int = 3,
        lower_prio_no_advert: bool = False,
        higher_prio_send_advert: bool = False,
        starts_backup: bool = False,
        membership: MembershipName = "ALONE",
        expired_priority: int = 0,
        ignores_adverts: bool = False,
        restraint: RestraintName = "UNRESTRAINED",
        source: bytes = b"\x0a\x00\x00\x01",
    ) -> None: ...
    def may_go_on(self, spoke_at: int, now: int) -> bool: ...
    def step(
        self,
        event: EventName,
        now: int,
        *,
        priority: int = 0,
        source: bytes = b"",
        interval: int = 0,
        opens_at: int = 0,
    ) -> tuple[str, ...]: ...
    @property
    def state(self) -> StateName: ...
    @property
    def deadline(self) -> int | None: ...
    @property
    def wants_master(self) -> bool: ...
    @property
    def master_interval(self) -> int: ...
    @property
    def master_priority(self) -> int: ...
    @property
    def skew_time(self) -> int: ...
    @property
    def master_down_interval(self) -> int: ...
