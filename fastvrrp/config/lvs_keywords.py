"""Rows of the table for IPVS: virtual servers, real servers and their health checkers."""

from __future__ import annotations

import re

from fastvrrp.config.arguments import (
    Address,
    ArgumentError,
    Boolean,
    Choice,
    Integer,
    Interface,
    Matching,
    Seconds,
    Text,
    WholeSeconds,
    packed_address,
)
from fastvrrp.config.commands import Script
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.keywords import FLAG, INNER_BLOCK, Keyword, Table, later
from fastvrrp.config.options import OptionLine, Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.syntax import Many, One, Optional, Several, Switch
from fastvrrp.config.tracking import Weight
from fastvrrp.model import SECOND

NAME = Text("NAME")
SWITCH = Switch(Boolean())
ADDRESS = Address()
PORT = Integer(0, 65535)
CHECKED_PORT = Integer(1, 65535)
NUMBER = Integer(0, 2**32 - 1)
MARK = Integer(1, 2**32 - 1)
WEIGHT = Integer(0, 2**31 - 1)
LENGTH = Integer(0, 65535)
SERVER = Several(ADDRESS, PORT, optional=1)
SCRIPT = Script()
LONGEST_TIME = 4_294_967_295_000
"""keepalived counts microseconds in 32 bits."""
TIME = One(Seconds(1000, LONGEST_TIME))
LONGEST_DELAY = (2**32 - 1) * SECOND
DELAY = One(Seconds(0, LONGEST_DELAY))
FAMILY = Choice({"inet": "inet", "inet6": "inet6"})
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed")
SCHEDULER = Choice({name: name for name in (*SCHEDULERS, "nq", "twos")})
NETMASK = Matching("NETMASK", r"[0-9.]+|[0-9]{1,3}", "is no mask")
STATUS = Matching("CODE[-CODE]", r"[1-5][0-9]{2}(?:-[1-5][0-9]{2})?", "is no HTTP status")
DIGEST = Matching("MD5", r"[0-9A-Fa-f]{32}", "is no MD5 digest: that has 32 hexadecimal digits")
HEX = Matching("HEX", r"[0-9A-Fa-f]+", "is not hexadecimal")
HEX_PATTERN = Matching("HEX", r"[0-9A-Fa-fXx]+", "is neither hexadecimal nor X")
DNS_TYPES = ("A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA")
REGEX_OPTIONS = (
    "allow_empty_class",
    "alt_bsux",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "utf",
    "never_backslash_c",
    "alt_circumflex",
    "alt_verbnames",
    "use_offset_limit",
)


class Method:
    """NAT, DR or TUN, and of a tunnel the options of its type."""

    def __init__(self) -> None:
        self._line = OptionLine(
            {
                "type": Choice({"ipip": "ipip", "gue": "gue", "gre": "gre"}),
                "port": CHECKED_PORT,
                "nocsum": None,
                "csum": None,
                "remcsum": None,
            },
            {"method": Choice({"NAT": "NAT", "DR": "DR", "TUN": "TUN"})},
            least=1,
        )

    @property
    def shape(self) -> str:
        return self._line.shape

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        options = self._line.read(statement, complaints)
        fault = _tunnel_fault(options) if options and options.get("method") == "TUN" else ""
        if not fault:
            return options
        complaints.error(statement, 2, f"{fault}; the options of the tunnel are ignored")
        return Options((("method", "TUN"),))


def _tunnel_fault(options: Options) -> str:
    """What does not go with the type of a tunnel."""
    kind, port = options.get("type") or "ipip", options.get("port")
    if kind == "gue" and port is None:
        return "a tunnel of type gue needs its port"
    if kind != "gue" and port is not None:
        return f"a tunnel of type {kind} has no port"
    if kind == "ipip" and (options.get("csum") or options.get("remcsum")):
        return "a tunnel of type ipip has no checksums"
    if kind == "gre" and options.get("remcsum"):
        return "a tunnel of type gre has no remote checksums"
    return ""


METHOD = Method()


class AddressRange:
    """ADDRESS, ADDRESS/LENGTH, ADDRESS-LAST or ADDRESS-ADDRESS; the value is the word."""

    shape = "ADDRESS[-LAST|/LENGTH]"

    def read(self, word: str) -> str:
        first, minus, last = word.partition("-")
        address, slash, length = first.partition("/")
        bits = len(packed_address(address)) * 8
        if slash and not (length.isascii() and length.isdigit() and int(length[:4]) <= bits):
            raise ArgumentError(f"has no prefix length in 0-{bits}")
        if not minus:
            return word
        if "." in last or ":" in last:
            if len(packed_address(last)) * 8 != bits:
                raise ArgumentError("goes from one family to another")
        elif bits == 32 and not (last.isascii() and last.isdigit() and int(last[:4]) <= 255):
            raise ArgumentError("has no last octet in 0-255")
        elif re.fullmatch(r"[0-9A-Fa-f]{1,4}", last) is None:
            raise ArgumentError("has no last part in 0-ffff")
        return word


class VirtualServer:
    """ADDRESS [PORT], fwmark MARK or group NAME."""

    shape = "ADDRESS [PORT] | fwmark MARK | group NAME"

    def __init__(self) -> None:
        self._fwmark = Several(Text("fwmark"), MARK)
        self._group = Several(Text("group"), NAME)

    def read(self, statement: Statement, complaints: Complaints) -> tuple[object, ...] | None:
        word = statement.words[1] if len(statement.words) > 1 else ""
        syntax = {"fwmark": self._fwmark, "group": self._group}.get(word, SERVER)
        return syntax.read(statement, complaints)


class GroupLine:
    """ADDRESS-RANGE [PORT], or fwmark MARK [inet|inet6]."""

    shape = "ADDRESS[-LAST|/LENGTH] [PORT] | fwmark MARK [inet|inet6]"

    def __init__(self) -> None:
        self._fwmark = Several(Text("fwmark"), MARK, FAMILY, optional=1, start=0)
        self._range = Several(AddressRange(), PORT, optional=1, start=0)

    def read(self, statement: Statement, complaints: Complaints) -> tuple[object, ...] | None:
        syntax = self._fwmark if statement.words[0] == "fwmark" else self._range
        return syntax.read(statement, complaints)


CONNECTION = (
    Keyword(
        "connect_ip",
        One(ADDRESS),
        "Address that is checked.",
        fallback="the real server's",
        since="1.2.13",
    ),
    Keyword(
        "connect_port", One(CHECKED_PORT), "Port that is checked.", fallback="the real server's"
    ),
    Keyword("bindto", One(ADDRESS), "Address to check from.", since="1.1.2", fallback="any"),
    Keyword("bind_if", One(Interface()), "Interface to check from.", since="1.3.7"),
    Keyword("bind_port", One(CHECKED_PORT), "Port to check from.", since="1.2.13", fallback="any"),
    Keyword("fwmark", One(NUMBER), "Firewall mark of the check's packets."),
)
RETRIES = "Checks more before a server is down."
DOMAIN_NAME = Matching(
    "NAME",
    r"\.|(?:[^.]{1,63}\.)*[^.]{1,63}\.?",
    "has a label that is empty or longer than 63 characters",
)
DEFAULT_RETRIES = "3 in DNS_CHECK, 0 in MISC_CHECK"
TIMING = (
    Keyword("alpha", SWITCH, "Down until the first check succeeds.", "off", since="1.1.16"),
    Keyword("connect_timeout", TIME, "Time to connect.", "5"),
    Keyword(
        "delay_before_retry",
        DELAY,
        "Time between those.",
        "1",
        fallback="3 in HTTP_GET and SSL_GET, delay_loop in DNS_CHECK",
        since="1.2.20",
    ),
    Keyword("warmup", DELAY, "Most time before the first check.", fallback="delay_loop"),
    Keyword("delay_loop", One(Seconds(1000, LONGEST_DELAY)), "Time between two checks.", "60"),
)
CHECKER_RETRY = Keyword(
    "retry", One(NUMBER), RETRIES, "1", fallback=DEFAULT_RETRIES, since="1.2.20"
)
SERVER_RETRY = Keyword("retry", One(MARK), RETRIES, "1", fallback=DEFAULT_RETRIES, since="1.2.20")
CHECKING = (
    *TIMING,
    CHECKER_RETRY,
    Keyword(
        "log_all_failures",
        SWITCH,
        "Log every failure.",
        fallback="checker_log_all_failures",
        since="2.0.11",
    ),
)
STANDARD = (*CONNECTION, *CHECKING)

URL = Table().add(
    Keyword("path", One(Text("PATH")), "What is asked for.", "/"),
    Keyword("digest", One(DIGEST), "MD5 digest of the answer."),
    Keyword("status_code", Many(STATUS), "Status of the answer.", "200-299", since="0.7.6"),
    Keyword("virtualhost", One(NAME), "Host that is asked for.", fallback="that of the checker"),
    Keyword("regex", One(Text("REGEX")), "Expression that the answer matches.", since="2.0.7"),
    Keyword("regex_no_match", FLAG, "A match is a failure.", since="2.0.7"),
    Keyword(
        "regex_options",
        Many(Choice({name: name for name in REGEX_OPTIONS})),
        "Options of the expression (PCRE2).",
        since="2.0.7",
    ),
    Keyword(
        "regex_stack",
        Several(NUMBER, NUMBER),
        "Size of its stack at the start and at most.",
        since="2.0.7",
    ),
    Keyword("regex_min_offset", One(NUMBER), "Where in the answer matching starts."),
    Keyword("regex_max_offset", One(NUMBER), "Where in the answer a match starts at the latest."),
    Keyword("tls_compliant", FLAG, "End TLS as the protocol has it.", since="2.2.8"),
)
HTTP = (
    *STANDARD,
    Keyword("nb_get_retry", One(NUMBER), "Checks more.", replaced_by="retry", is_discouraged=True),
    Keyword(
        "http_protocol",
        One(Choice({name: name for name in ("1.0", "1.0C", "1.1", "1.0c", "1.0K", "1.0k")})),
        "Version of HTTP.",
        "1.0",
        since="2.0.17",
    ),
    Keyword("fast_recovery", SWITCH, "No delay between URLs.", "off", since="2.0.17"),
    Keyword("enable_sni", SWITCH, "Say the host's name in TLS.", since="1.4.3", default="off"),
    Keyword(
        "virtualhost", One(NAME), "Host that is asked for.", fallback="that of the real server"
    ),
    Keyword("url", INNER_BLOCK, "What is asked for.", block=URL.rows, is_repeatable=True),
)
SMTP_HOST = Table().add(*STANDARD)
CHECKERS = (
    Keyword(
        "HTTP_GET",
        INNER_BLOCK,
        "Check over HTTP.",
        block=Table().add(*HTTP).rows,
        is_repeatable=True,
    ),
    Keyword(
        "SSL_GET",
        INNER_BLOCK,
        "Check over HTTPS.",
        block=Table()
        .add(
            *HTTP,
            Keyword("sni_name", One(NAME), "Say this name in TLS.", since="2.2.8"),
            Keyword("tls_compliant", FLAG, "End TLS as the protocol has it.", since="2.2.8"),
        )
        .rows,
        is_repeatable=True,
        since="0.4.9",
    ),
    Keyword(
        "TCP_CHECK",
        INNER_BLOCK,
        "Check that it accepts connections.",
        block=Table().add(*STANDARD).rows,
        is_repeatable=True,
    ),
    Keyword(
        "SMTP_CHECK",
        INNER_BLOCK,
        "Check that it takes mail.",
        block=Table()
        .add(
            *STANDARD,
            Keyword("helo_name", One(NAME), "Name in HELO.", fallback="smtp_helo_name"),
            Keyword("host", INNER_BLOCK, "Where to connect.", block=SMTP_HOST.rows),
        )
        .rows,
        is_repeatable=True,
        since="1.1.8",
    ),
    Keyword(
        "DNS_CHECK",
        INNER_BLOCK,
        "Check that it answers a name.",
        block=Table()
        .add(
            *STANDARD,
            Keyword(
                "type",
                One(Choice({name: name for name in DNS_TYPES})),
                "Type of the question.",
                "SOA",
            ),
            Keyword("name", One(DOMAIN_NAME), "Name that is asked for.", "."),
        )
        .rows,
        is_repeatable=True,
        since="1.3.0",
    ),
    Keyword(
        "MISC_CHECK",
        INNER_BLOCK,
        "Check by a command.",
        block=Table()
        .add(
            *CHECKING,
            Keyword("misc_path", Script(), "Command that is run."),
            Keyword(
                "misc_timeout",
                One(WholeSeconds(0, 4294)),
                "Time that it may take.",
                fallback="delay_loop",
                since="1.1.0",
            ),
            Keyword("misc_dynamic", FLAG, "Its exit status is the weight.", since="1.1.8"),
            Keyword(
                "user",
                Several(Text("USER"), Text("GROUP"), optional=1),
                "Who runs it.",
                fallback="script_user",
            ),
        )
        .rows,
        is_repeatable=True,
        since="0.4.0",
    ),
    later(
        "BFD_CHECK",
        INNER_BLOCK,
        "Check by a BFD session.",
        block=Table()
        .add(
            later("name", One(NAME), "Name of the bfd_instance."),
            later("alpha", SWITCH, "Down until the first check succeeds.", "off", since="1.1.16"),
        )
        .rows,
        is_repeatable=True,
    ),
    Keyword(
        "UDP_CHECK",
        INNER_BLOCK,
        "Check that it is not unreachable.",
        block=Table()
        .add(
            *STANDARD,
            Keyword("payload", Many(HEX), "What is sent.", fallback="at random"),
            Keyword("require_reply", Many(HEX_PATTERN, least=0), "An answer is needed."),
            Keyword("min_reply_length", One(LENGTH), "Shortest answer.", "0"),
            Keyword("max_reply_length", One(LENGTH), "Longest answer.", "255"),
        )
        .rows,
        is_repeatable=True,
    ),
    Keyword(
        "PING_CHECK",
        INNER_BLOCK,
        "Check that it answers a ping.",
        block=Table().add(*STANDARD).rows,
        is_repeatable=True,
    ),
    Keyword(
        "FILE_CHECK",
        INNER_BLOCK,
        "Check by a number in a file.",
        block=Table()
        .add(
            Keyword("track_file", One(NAME), "Name of the track_file."),
            Keyword("dynamic", FLAG, "Its number is added to the weight."),
            Keyword("weight", Weight(2**31 - 1), "Its number is multiplied by this.", "1"),
        )
        .rows,
        is_repeatable=True,
    ),
)
SERVER_DEFAULTS = (
    *TIMING,
    SERVER_RETRY,
    Keyword(
        "lvs_method",
        METHOD,
        "How packets are forwarded.",
        "NAT",
        fallback="a real server's is that of its virtual server",
        since="1.1.5",
    ),
    Keyword(
        "smtp_alert",
        SWITCH,
        "Mail on a change of state.",
        fallback="off, of a real server on, unless smtp_alert_checker says it",
    ),
    Keyword(
        "virtualhost",
        One(NAME),
        "Host that checkers ask for.",
        fallback="a real server's is that of its virtual server",
    ),
    later("snmp_name", One(NAME), "Name in SNMP."),
    Keyword("inhibit_on_failure", SWITCH, "Weight 0 instead of removal.", "off", since="0.6.8"),
)
REAL_SERVER = Table().add(
    *SERVER_DEFAULTS,
    Keyword("weight", One(WEIGHT), "Share of connections.", "1"),
    Keyword("notify_up", SCRIPT, "Script run when it is up.", since="1.0.0"),
    Keyword("notify_down", SCRIPT, "Script run when it is down.", since="1.0.0"),
    Keyword("uthreshold", One(NUMBER), "Most connections.", since="1.1.13"),
    Keyword(
        "lthreshold", One(NUMBER), "Fewest connections before it gets more again.", since="1.1.13"
    ),
    *CHECKERS,
)
VIRTUAL_SERVER = Table().add(
    *SERVER_DEFAULTS,
    Keyword(
        "weight",
        One(Integer(1, 2**31 - 1)),
        "Share of connections of real servers that say none.",
        "1",
    ),
    Keyword("lb_kind", METHOD, "How packets are forwarded.", replaced_by="lvs_method"),
    Keyword("lvs_sched", One(SCHEDULER), "How connections are spread.", "wlc", since="1.1.5"),
    Keyword("lb_algo", One(SCHEDULER), "How connections are spread.", replaced_by="lvs_sched"),
    Keyword("flag-1", FLAG, "First flag of the scheduler."),
    Keyword("flag-2", FLAG, "Second flag of the scheduler."),
    Keyword("flag-3", FLAG, "Third flag of the scheduler."),
    Keyword("sh-port", FLAG, "sh looks at ports too."),
    Keyword("sh-fallback", FLAG, "sh goes on where a server is down."),
    Keyword("mh-port", FLAG, "mh looks at ports too."),
    Keyword("mh-fallback", FLAG, "mh goes on where a server is down."),
    Keyword("hashed", FLAG, "Flag of the scheduler sh."),
    Keyword("ops", FLAG, "Every UDP packet is scheduled."),
    Keyword("persistence_engine", One(NAME), "What persistence looks at."),
    Keyword(
        "persistence_timeout",
        Optional(Integer(1, 31 * 24 * 3600)),
        "Seconds of persistence.",
        fallback="360 where no number is written",
    ),
    Keyword("persistence_granularity", One(NETMASK), "Mask of persistent clients."),
    Keyword(
        "protocol",
        One(Choice({"TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"})),
        "Transport protocol.",
    ),
    Keyword("ha_suspend", FLAG, "No checks while the address is not here.", since="1.0.0"),
    Keyword("omega", FLAG, "Run scripts of what goes down at the end.", since="1.1.16"),
    Keyword("quorum", One(Integer(1, 2**31 - 1)), "Weight needed.", "1"),
    Keyword("hysteresis", One(Integer(0, 2**31 - 1)), "Weight that quorum may be off.", "0"),
    Keyword("quorum_up", SCRIPT, "Script run when there is quorum."),
    Keyword("quorum_down", SCRIPT, "Script run when there is none."),
    Keyword("ip_family", One(FAMILY), "Family of a mark.", "inet", since="1.2.20"),
    Keyword("sorry_server", SERVER, "Server for when there is no quorum."),
    Keyword("sorry_server_inhibit", FLAG, "Weight 0 instead of removal.", since="1.2.13"),
    Keyword(
        "sorry_server_lvs_method", METHOD, "How packets are forwarded to it.", fallback="lvs_method"
    ),
    Keyword("real_server", SERVER, "A real server.", block=REAL_SERVER.rows, is_repeatable=True),
)
SSL = Table().add(
    Keyword("password", One(NAME), "Password of the key."),
    Keyword("ca", One(Text("PATH")), "File of certificates that are trusted."),
    Keyword("certificate", One(Text("PATH")), "File of the certificate."),
    Keyword("key", One(Text("PATH")), "File of the key."),
)
BLOCKS: tuple[Keyword, ...] = (
    Keyword(
        "virtual_server_group",
        One(NAME),
        "Addresses and marks that share virtual servers.",
        items=GroupLine(),
        is_repeatable=True,
        since="1.0.2",
    ),
    Keyword(
        "virtual_server",
        VirtualServer(),
        "A virtual server of IPVS.",
        block=VIRTUAL_SERVER.rows,
        is_repeatable=True,
    ),
    Keyword(
        "SSL",
        INNER_BLOCK,
        "How SSL_GET authenticates.",
        block=SSL.rows,
        is_repeatable=True,
        since="0.4.9",
    ),
)
