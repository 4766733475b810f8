"""Health checkers of a real server: what they are nothing without, and what does not fit in them.

Names of a track_file or bfd_instance must have been given before, as keepalived has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from fastvrrp.config.arguments import address_text
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.tree import Entry

URL_CHECKERS = frozenset({"HTTP_GET", "SSL_GET"})
SHORTEST_REPLY = "min_reply_length"
LONGEST_REPLY = "max_reply_length"
DEFAULT_LONGEST_REPLY = 255


@dataclass(slots=True)
class Checkers:
    """Checks checkers with the names that were given so far."""

    complaints: Complaints
    left_out: set[Entry] = field(default_factory=set)
    """Checkers, and parts of them, that are not taken."""
    _files: set[str] = field(default_factory=set)
    _sessions: set[str] = field(default_factory=set)

    def take_file(self, track_file: Entry) -> None:
        """Remember a track_file."""
        self._files.add(str(track_file.value))

    def take_session(self, bfd_instance: Entry) -> None:
        """Remember a bfd_instance, unless it is for virtual routers only."""
        keywords = {entry.keyword.name for entry in bfd_instance.entries}
        if "vrrp" not in keywords or "checker" in keywords:
            self._sessions.add(str(bfd_instance.value))

    def check(self, virtual_server: Entry) -> None:
        """Complain of the checkers of all its real servers."""
        for server in virtual_server.entries:
            if server.keyword.name != "real_server" or not isinstance(server.value, tuple):
                continue
            sessions: set[str] = set()
            for checker in server.entries:
                kind = checker.keyword.name
                if kind in URL_CHECKERS:
                    self._check_urls(checker)
                elif kind == "FILE_CHECK":
                    self._check_name(checker, "track_file", "track_file", self._files)
                elif kind == "BFD_CHECK":
                    self._check_session(checker, sessions)
                elif kind == "MISC_CHECK":
                    if not any(entry.keyword.name == "misc_path" for entry in checker.entries):
                        self._leave_out(checker, "MISC_CHECK has no misc_path")
                elif kind == "UDP_CHECK":
                    self._check_reply(checker)
                if checker.keyword.is_block:
                    self._check_ends(checker, server.value[0])

    def _leave_out(
        self, entry: Entry, text: str, *, part: Entry | None = None, index: int = 0
    ) -> None:
        """Take no more account of an entry, for the fault of one of its parts where there is one.

        `index` is the word at fault.
        """
        self.left_out.add(entry)
        self.complaints.error((part or entry).statement, index, f"{text}; it is left out")

    def _check_urls(self, checker: Entry) -> None:
        urls = [entry for entry in checker.entries if entry.keyword.name == "url"]
        if not urls:
            self._leave_out(checker, f"{checker.keyword.name} has no url")
        for url in urls:
            if not any(entry.keyword.name == "path" for entry in url.entries):
                self._leave_out(url, "url has no path")
            else:
                self._check_expression(url)
        if urls and all(url in self.left_out for url in urls):
            self.left_out.add(checker)

    def _check_expression(self, url: Entry) -> None:
        last = {entry.keyword.name: entry for entry in url.entries if entry.value is not None}
        regex = last.get("regex")
        if regex is None:
            return
        from fastvrrp.config.expressions import ExpressionError, compiled  # noqa: PLC0415 - rare

        options = last.get("regex_options")
        names = options.value if options is not None and isinstance(options.value, tuple) else ()
        try:
            compiled(str(regex.value), tuple(map(str, names)))
        except ExpressionError as error:
            self.left_out.add(url)
            text = f"regex does not compile: {error}; mend it; its url is left out"
            self.complaints.error(regex.statement, 1, text, is_ours=True)

    def _check_name(self, checker: Entry, keyword: str, block: str, given: set[str]) -> str | None:
        """The name that a checker uses, where a block gave it before."""
        named = [entry for entry in checker.entries if entry.keyword.name == keyword]
        if not named:
            self._leave_out(checker, f"{checker.keyword.name} has no {keyword}")
        elif (name := named[-1].value) is not None:
            if name in given:
                return str(name)
            self._leave_out(
                checker,
                f"{block} {name} of {checker.keyword.name} does not stand before it",
                part=named[-1],
                index=1,
            )
        return None

    def _check_session(self, checker: Entry, sessions: set[str]) -> None:
        name = self._check_name(checker, "name", "bfd_instance", self._sessions)
        if name is None:
            return
        if name in sessions:
            self._leave_out(checker, f"bfd_instance {name} is checked for this real server already")
        sessions.add(name)

    def _check_reply(self, checker: Entry) -> None:
        last = {entry.keyword.name: entry for entry in checker.entries}
        shortest = last.get(SHORTEST_REPLY)
        longest = last.get(LONGEST_REPLY)
        if shortest is None or not isinstance(shortest.value, int):
            return
        most = DEFAULT_LONGEST_REPLY
        if longest is not None and isinstance(longest.value, int):
            most = longest.value
        if shortest.value > most:
            self.complaints.warning(
                shortest.statement,
                1,
                f"min_reply_length {shortest.value} is more than max_reply_length {most}: the"
                " check always fails",
            )

    def _check_ends(self, checker: Entry, server: bytes) -> None:
        """Addresses to check from are of the family of the address that is checked."""
        target = server
        keywords = {entry.keyword.name for entry in checker.entries}
        for entry in checker.entries:
            if entry.keyword.name == "host":
                self._check_ends(entry, server)
            elif entry.keyword.name == "connect_ip" and isinstance(entry.value, bytes):
                target = entry.value
                if (
                    ip_address(target).is_link_local
                    and len(target) == 16
                    and "bind_if" not in keywords
                ):
                    self.complaints.error(
                        entry.statement,
                        1,
                        f"connect_ip {address_text(target)} is link-local: write bind_if, too",
                    )
            elif (
                entry.keyword.name == "bindto"
                and checker.keyword.name != "SMTP_CHECK"
                and isinstance(entry.value, bytes)
                and len(entry.value) != len(target)
            ):
                self._leave_out(
                    entry,
                    f"bindto {address_text(entry.value)} is of another family than"
                    f" {address_text(target)}, which is checked",
                    index=1,
                )
