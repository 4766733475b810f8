"""HTTP_GET and SSL_GET: a status, a digest, an expression. Each URL is a check of its own."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from fastvrrp.config.tls_files import TlsError, context_of
from fastvrrp.lvs.check import CannotCheckError, Check, Verdict
from fastvrrp.lvs.checkers.answer import WINDOW, Answer
from fastvrrp.lvs.checkers.matching import Matching
from fastvrrp.lvs.checkers.sockets import Route, describe
from fastvrrp.lvs.checkers.streams import NoConnectionError, QuietError, connected
from fastvrrp.lvs.checkers.tools import Shared, Tools
from fastvrrp.model import HttpCheck, HttpVersion, Url

CONNECTION = {
    HttpVersion.HTTP_1_0: "",
    HttpVersion.HTTP_1_0_CLOSE: "Connection: close\r\n",
    HttpVersion.HTTP_1_0_KEEP_ALIVE: "Connection: keep-alive\r\n",
    HttpVersion.HTTP_1_1: "Connection: close\r\n",
}


def request(version: HttpVersion, path: str, host: str) -> bytes:
    """What is asked, to the byte as keepalived asks it: servers' logs are filtered for that."""
    number = "1.1" if version is HttpVersion.HTTP_1_1 else "1.0"
    connection = CONNECTION[version]
    head = f"GET {path} HTTP/{number}\r\nUser-Agent: KeepAliveClient\r\n"
    # Bytes of the configuration that are no UTF-8 go out as they are written.
    return f"{head}{connection}Host: {host}\r\n\r\n".encode("utf-8", "surrogateescape")


def host_of(route: Route) -> str:
    """The host where nobody names one: the address."""
    host, port = route.target[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Contexts(Shared):
    """The TLS of all SSL_GETs: the files are read once a configuration."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._made: ssl.SSLContext | None = None
        self._fault = ""
        """Why there is none."""

    def context(self) -> ssl.SSLContext:
        """Raises CannotCheckError."""
        if self._made is None and not self._fault:
            try:
                self._made = context_of(self._tools.tls)
            except TlsError as error:
                self._fault = f"SSL: {error}"
        if self._made is None:
            raise CannotCheckError(self._fault)
        return self._made

    def configured(self) -> None:
        self._made = None
        self._fault = ""


class UrlCheck(Check):
    """Asks for one URL."""

    def __init__(
        self,
        checker: HttpCheck,
        url: Url,
        contexts: Contexts | None,
        matching: Matching | None = None,
    ) -> None:
        """`contexts` make TLS, where it is spoken; `matching` is for an expression."""
        self._matching = matching
        self.what = url.path
        self._checker = checker
        self._url = url
        self._contexts = contexts
        self._route = Route(checker.target)
        host = url.virtualhost or host_of(self._route)
        self._request = request(checker.version, url.path, host)
        self._name = checker.sni_name
        if self._name is None and checker.sends_sni:
            self._name = url.virtualhost

    async def check(self) -> Verdict:
        asked = self._url.expression
        answer = Answer(asked.least_offset, WINDOW) if asked else Answer()
        try:
            await self._fetch(answer)
        except NoConnectionError as error:
            how = "Timeout connecting" if "timed out" in str(error) else "Connection failed"
            return self._bad(f"connection: {error}", f"{how} server")
        except QuietError:
            reading = "HTTP" if answer.status is not None else "WEB"
            return self._bad("no answer in time", f"Timeout {reading} read server")
        except OSError as error:
            return self._bad(f"connection: {describe(error)}", "Read error with server")
        return await self._judge(answer)

    async def fetch(self, window: int) -> Answer:
        """The answer itself, with that many bytes of it. Raises NoConnectionError, QuietError,
        CannotCheckError, OSError."""
        answer = Answer(0, window)
        await self._fetch(answer)
        return answer

    async def _fetch(self, answer: Answer) -> None:
        context = None if self._contexts is None else self._contexts.context()
        timing = self._checker.timing
        async with connected(self._route, timing, context, self._name) as stream:
            await stream.write(self._request)
            while not (answer.is_complete or answer.failure):
                answer.feed(await stream.read())
            if self._url.is_tls_compliant:
                await stream.end_tls()

    async def _judge(self, answer: Answer) -> Verdict:
        url = self._url
        if answer.status is None:
            if "closed" in answer.failure:
                return self._bad(answer.failure, "Read, no data received from  server")
            return self._bad(answer.failure, "HTTP status code error to server")
        if not any(first <= answer.status <= last for first, last in url.status):
            return self._bad(f"status {answer.status}", "HTTP status code error to server")
        found = "HTTP status code"
        if url.digest is not None:
            if answer.digest != url.digest:
                why = f"digest is {answer.digest.hex()}"
                return self._bad(why, "MD5 digest error to server")
            found = "MD5 digest"
        if url.expression is not None:
            assert self._matching is not None
            fault = await self._matching.mismatch(url.expression, bytes(answer.kept))
            if fault:
                if answer.is_cut:
                    fault += f" in the first {WINDOW} bytes of it"
                return self._bad(fault, "Regex match failed server")
            found = "Regex match"
        return Verdict(True, line=f"{found} success to {{service}} url({{what}})")

    def _bad(self, why: str, line: str) -> Verdict:
        # Everybody may read why; in a query may be a password.
        path = self._url.path.partition("?")[0]
        return Verdict(False, f"{path}: {why}", line=f"{line} {{service}}.")


def make(checker: HttpCheck, tools: Tools) -> Sequence[Check]:
    contexts = tools.the(Contexts) if checker.is_tls else None
    matching = tools.the(Matching) if any(url.expression for url in checker.urls) else None
    return tuple(UrlCheck(checker, url, contexts, matching) for url in checker.urls)
