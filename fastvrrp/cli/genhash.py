"""`fastvrrp genhash`: the digest of a page, for `digest` of HTTP_GET and SSL_GET.

It asks as the check does, and takes of the answer what the check takes, so that what it prints is
what the check will find. Options and the line that is printed are those of keepalived's genhash.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastvrrp.lvs.checkers.answer import Answer
    from fastvrrp.model import HttpCheck

FAILED = 1
ROW = 16
"""Bytes in a row of a dump."""
VERSIONS = {"1.0": "1.0", "1.0c": "1.0C", "1.0C": "1.0C", "1.0k": "1.0K", "1.0K": "1.0K"}
SHOWN = 1 << 20
"""Bytes of a page that -v shows."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "genhash",
        help="print the digest of a page, for HTTP_GET and SSL_GET",
        description="Asks a server for a page, as HTTP_GET and SSL_GET do, and prints the MD5"
        " digest of it, which can be written behind `digest`. Exits with 1 where there is no"
        " answer.",
        epilog="example: fastvrrp genhash -s 192.0.2.10 -p 80 -u /index.html",
    )
    parser.add_argument("-s", "--server", required=True, help="the address of the server")
    parser.add_argument("-p", "--port", type=int, required=True, help="its port")
    parser.add_argument("-u", "--url", required=True, help="the path of the page")
    parser.add_argument("-S", "--use-ssl", action="store_true", help="ask over TLS")
    parser.add_argument(
        "-I", "--use-sni", action="store_true", help="say the name of the virtual host in TLS"
    )
    parser.add_argument("-V", "--use-virtualhost", metavar="HOST", help="the host to ask for")
    parser.add_argument(
        "-P", "--protocol", choices=[*VERSIONS, "1.1"], default="1.0", help="version of HTTP"
    )
    parser.add_argument("-m", "--fwmark", type=int, default=0, help="firewall mark of the packets")
    parser.add_argument(
        "-t", "--timeout", type=float, default=5.0, help="seconds to connect, and for each answer"
    )
    family = parser.add_mutually_exclusive_group()
    family.add_argument("-4", dest="family", action="store_const", const=4, help="only IPv4")
    family.add_argument("-6", dest="family", action="store_const", const=6, help="only IPv6")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the answer, too")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Prints the digest; the exit status."""
    from fastvrrp.lvs.check import CannotCheckError
    from fastvrrp.lvs.checkers.sockets import describe
    from fastvrrp.lvs.checkers.streams import NoConnectionError, QuietError

    try:
        answer = asyncio.run(_ask(_checker(arguments), shows=arguments.verbose))
    except NoConnectionError as error:
        return _fail(f"{arguments.server} does not take a connection: {error}")
    except QuietError:
        return _fail(f"{arguments.server} does not answer in time; a longer one is said by -t")
    except CannotCheckError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{arguments.server}: {describe(error)}")
    if answer.status is None:
        return _fail(f"{arguments.server}: {answer.failure}")
    if arguments.verbose:
        _show("HTTP Header Buffer", answer.head)
        _show("HTML Buffer", bytes(answer.kept)[len(answer.head) :])
        print(_title("HTML hash final resulting"))
    print(answer.digest.hex())
    return 0


def _checker(arguments: argparse.Namespace) -> HttpCheck:
    """The check that would find the digest. Raises OSError where there is no such host."""
    import socket

    from fastvrrp.model import SECOND, CheckTarget, CheckTiming, HttpCheck, HttpVersion, Url

    families = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
    found = socket.getaddrinfo(
        arguments.server, arguments.port, families[arguments.family], socket.SOCK_STREAM
    )
    family, _, _, _, address = found[0]
    timeout = int(arguments.timeout * SECOND)
    return HttpCheck(
        CheckTarget(
            socket.inet_pton(family, str(address[0])), arguments.port, mark=arguments.fwmark
        ),
        CheckTiming(connect_timeout=timeout),
        arguments.use_ssl,
        (Url(arguments.url, virtualhost=arguments.use_virtualhost),),
        HttpVersion(VERSIONS.get(arguments.protocol, arguments.protocol)),
        sends_sni=arguments.use_sni,
    )


async def _ask(checker: HttpCheck, *, shows: bool) -> Answer:
    from fastvrrp.lvs.checkers.http import Contexts, UrlCheck
    from fastvrrp.lvs.checkers.tools import Tools

    contexts = Contexts(Tools(asyncio.get_running_loop())) if checker.is_tls else None
    return await UrlCheck(checker, checker.urls[0], contexts).fetch(SHOWN if shows else 0)


def _show(title: str, data: bytes) -> None:
    """A dump as keepalived's genhash has it."""
    print(_title(title))
    for start in range(0, len(data), ROW):
        row = data[start : start + ROW]
        digits = " ".join(f"{byte:02x}" for byte in row[:8])
        rest = " ".join(f"{byte:02x}" for byte in row[8:])
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        print(f"{start:04d}  {digits:<23} - {rest:<23}   {text}")
    print()


def _title(text: str) -> str:
    return f"[{text:^28}]".center(74, "-")


def _fail(why: str) -> int:
    print(f"fastvrrp: {why}", file=sys.stderr)
    return FAILED
