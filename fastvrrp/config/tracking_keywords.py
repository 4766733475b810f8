"""Rows of the table for what instances track and share: scripts, files, processes, BFD, groups."""

from __future__ import annotations

from fastvrrp.config.arguments import (
    Address,
    Boolean,
    Choice,
    Integer,
    Interface,
    Milliseconds,
    Seconds,
    Text,
)
from fastvrrp.config.commands import BareCommand, Script
from fastvrrp.config.keywords import FLAG, INNER_BLOCK, Keyword, Table, later
from fastvrrp.config.options import OptionLine
from fastvrrp.config.syntax import Line, Many, One, Several, Switch
from fastvrrp.config.tracking import TrackedLine, Weight
from fastvrrp.model import SECOND

NAME = Text("NAME")
BLOCK_NAME = One(NAME)
SWITCH = Switch(Boolean())
SCRIPT = Script()
INTERFACE = Interface()
LONGEST_SCRIPT_TIME = 4_294_967_295_000
"""keepalived counts microseconds in 32 bits."""
LONGEST_BFD_INTERVAL = 4_294_967
"""Milliseconds: RFC 5880 counts microseconds in 32 bits."""
COUNT = One(Integer(1, 2**31 - 1))
HOPS = One(Integer(0, 255))
GAP = One(Seconds(0, 2_147_483_647_000))
BFD_INTERVAL = One(Milliseconds(1, LONGEST_BFD_INTERVAL))
DELAY = Seconds(0, 255 * SECOND)

TRACKS = (
    Keyword(
        "track_interface",
        INNER_BLOCK,
        "Interfaces whose state counts.",
        items=TrackedLine(253, is_interface=True),
        is_repeatable=True,
        since="1.0.1",
    ),
    Keyword(
        "track_script",
        INNER_BLOCK,
        "Scripts whose result counts.",
        items=TrackedLine(253),
        is_repeatable=True,
    ),
    Keyword(
        "track_file",
        INNER_BLOCK,
        "Files whose number counts.",
        items=TrackedLine(254),
        is_repeatable=True,
    ),
    Keyword(
        "track_process",
        INNER_BLOCK,
        "Processes that count.",
        items=TrackedLine(254),
        is_repeatable=True,
        since="2.0.11",
    ),
    later(
        "track_bfd",
        INNER_BLOCK,
        "BFD sessions that count.",
        items=TrackedLine(253),
        is_repeatable=True,
    ),
)
"""What an instance and a sync group may track."""

NOTIFICATIONS = (
    Keyword("notify_master", SCRIPT, "Script run on becoming master.", since="0.5.9"),
    Keyword("notify_backup", SCRIPT, "Script run on becoming backup.", since="0.5.9"),
    Keyword("notify_fault", SCRIPT, "Script run on a fault.", since="0.5.9"),
    Keyword("notify_stop", SCRIPT, "Script run when the daemon stops.", since="1.1.13"),
    Keyword(
        "notify_deleted", Script(is_optional=True), "Tell of DELETED, not FAULT, after a reload."
    ),
    Keyword("notify", SCRIPT, "Script run on every change of state."),
    Keyword(
        "notify_priority_changes",
        SWITCH,
        "Tell FIFOs of priorities.",
        fallback="vrrp_notify_priority_changes",
        since="2.0.16",
    ),
    Keyword("smtp_alert", SWITCH, "Mail on a change of state.", fallback="smtp_alert_vrrp"),
)

TRACK_SCRIPT = Table().add(
    Keyword("script", BareCommand(), "Command that is run."),
    Keyword("interval", One(Seconds(1000, LONGEST_SCRIPT_TIME)), "Time between two runs.", "1"),
    Keyword(
        "timeout",
        One(Seconds(1000, LONGEST_SCRIPT_TIME)),
        "Time after which a run failed.",
        fallback="interval",
        since="1.2.6",
    ),
    Keyword("weight", Weight(253), "Added to the priority.", "0"),
    Keyword("rise", COUNT, "Successes until it counts as good.", "1", since="1.1.18"),
    Keyword("fall", COUNT, "Failures until it counts as bad.", "1", since="1.1.18"),
    Keyword(
        "user",
        Several(Text("USER"), Text("GROUP"), optional=1),
        "Who runs it.",
        fallback="script_user",
    ),
    Keyword("init_fail", FLAG, "It is bad until it succeeds.", since="1.3.2"),
)
TRACK_FILE = Table().add(
    Keyword("file", One(Text("PATH")), "File that is read."),
    Keyword("weight", Weight(2**31 - 1), "Its number is multiplied by this.", "1"),
    Keyword(
        "init_file",
        OptionLine({"overwrite": None}, {"value": Integer(-(2**31), 2**31 - 1)}),
        "Write a value at the start.",
        fallback="0 where no value is written",
    ),
)
TRACK_PROCESS = Table().add(
    Keyword("process", Many(Text("WORD")), "Process that is looked for, and its parameters."),
    Keyword(
        "param_match",
        One(Choice({"initial": "initial", "partial": "partial"})),
        "How its parameters are compared.",
        since="2.0.16",
    ),
    Keyword("weight", Weight(254), "Added to the priority.", "0"),
    Keyword("quorum", One(Integer(1, 65535)), "Fewest processes.", "1"),
    Keyword(
        "quorum_max",
        One(Integer(0, 65535)),
        "Most processes.",
        fallback="unlimited",
        since="2.0.16",
    ),
    Keyword(
        "fork_delay", One(Seconds(1000, 3600 * SECOND)), "Wait after one came.", fallback="none"
    ),
    Keyword(
        "terminate_delay",
        One(Seconds(1000, 3600 * SECOND)),
        "Wait after one went.",
        fallback="none",
    ),
    Keyword("delay", One(Seconds(1000, 3600 * SECOND)), "Both waits."),
    Keyword("full_command", FLAG, "Compare the whole command line."),
)
BFD = Table().add(
    later("neighbor_ip", One(Address()), "Address of the neighbour."),
    later("neighbour_ip", One(Address()), "Address of the neighbour."),
    later("source_ip", One(Address()), "Own address."),
    later("min_rx", BFD_INTERVAL, "Shortest interval wished to hear.", "10"),
    later("min_tx", BFD_INTERVAL, "Shortest interval to send.", "10"),
    later("idle_tx", One(Milliseconds(1000, LONGEST_BFD_INTERVAL)), "Interval while down.", "1000"),
    later("multiplier", One(Integer(1, 255)), "Packets missed until it is down.", "5"),
    later("passive", FLAG, "Wait for the neighbour."),
    later("ttl", One(Integer(1, 255)), "TTL that is sent.", "255"),
    later("hoplimit", One(Integer(1, 255)), "Hop limit that is sent.", "64"),
    later("max_hops", HOPS, "Hops that the neighbour may be away.", "0"),
    later("multihop", SWITCH, "Packets go to the port of multihop sessions, 4784.", "off"),
    later("weight", Weight(253), "Added to the priority.", "0"),
    later("vrrp", FLAG, "Tell virtual routers only.", fallback="both are told"),
    later("checker", FLAG, "Tell health checkers only.", fallback="both are told"),
)
SYNC_GROUP = Table().add(
    Keyword("group", INNER_BLOCK, "Instances that change state together.", items=Line(NAME)),
    *TRACKS,
    *NOTIFICATIONS,
    Keyword(
        "global_tracking",
        FLAG,
        "Track for all.",
        replaced_by="track_interface, track_script and so on in the group",
        is_discouraged=True,
        since="1.2.3",
    ),
    Keyword("sync_group_tracking_weight", FLAG, "Members may weigh differently.", since="2.0.0"),
)
GARP_GROUP = Table().add(
    Keyword("garp_interval", GAP, "Gap between two gratuitous ARPs.", fallback="none"),
    Keyword(
        "gna_interval",
        GAP,
        "Gap between two neighbour advertisements.",
        fallback="none",
    ),
    Keyword("interface", One(INTERFACE), "Interface to which they apply."),
    Keyword(
        "interfaces", INNER_BLOCK, "Interfaces to which they apply together.", items=Line(INTERFACE)
    ),
)
TRACK_GROUP = Table().add(
    Keyword("group", INNER_BLOCK, "Instances that track.", items=Line(NAME)),
)

BLOCKS: tuple[Keyword, ...] = (
    Keyword(
        "vrrp_script",
        BLOCK_NAME,
        "A script to track.",
        block=TRACK_SCRIPT.rows,
        is_repeatable=True,
        since="1.1.13",
    ),
    Keyword(
        "track_file", BLOCK_NAME, "A file to track.", block=TRACK_FILE.rows, is_repeatable=True
    ),
    Keyword(
        "vrrp_track_file",
        BLOCK_NAME,
        "A file to track.",
        block=TRACK_FILE.rows,
        is_repeatable=True,
        replaced_by="track_file",
        since="2.0.0",
    ),
    Keyword(
        "vrrp_track_process",
        BLOCK_NAME,
        "A process to track.",
        block=TRACK_PROCESS.rows,
        is_repeatable=True,
        since="2.0.11",
    ),
    later("bfd_instance", BLOCK_NAME, "A BFD session.", block=BFD.rows, is_repeatable=True),
    Keyword(
        "vrrp_sync_group",
        BLOCK_NAME,
        "Instances that change state together.",
        block=SYNC_GROUP.rows,
        is_repeatable=True,
        since="0.6.1",
    ),
    Keyword(
        "garp_group",
        INNER_BLOCK,
        "Gaps of announcements on some interfaces.",
        block=GARP_GROUP.rows,
        is_repeatable=True,
    ),
    Keyword(
        "track_group",
        BLOCK_NAME,
        "Instances that track static addresses, routes and rules.",
        block=TRACK_GROUP.rows,
        is_repeatable=True,
        since="2.0.3",
    ),
    Keyword(
        "linkbeat_interfaces",
        INNER_BLOCK,
        "Interfaces that are asked for their link.",
        items=OptionLine(
            {"MII": None, "ETHTOOL": None, "IOCTL": None},
            {"interface": INTERFACE},
            start=0,
            least=1,
        ),
        is_repeatable=True,
        since="2.0.13",
    ),
    Keyword(
        "interface_up_down_delays",
        INNER_BLOCK,
        "How long an interface must be up or down to count.",
        items=Several(INTERFACE, DELAY, DELAY, optional=1, start=0),
        is_repeatable=True,
        since="2.2.3",
    ),
)
