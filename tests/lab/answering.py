"""A server that says its name: `python answering.py NAME PROTOCOL ADDRESS PORT ...`.

PROTOCOL is tcp, sctp or udp; the three may follow again and again. A connection is told the name
and closed; a datagram is answered with it. It prints "ready" when all are open.
"""

from __future__ import annotations

import select
import socket
import sys


def opened(protocol: str, address: str, port: int) -> socket.socket:
    """A socket that serves one address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = socket.IPPROTO_SCTP if protocol == "sctp" else 0
    made = socket.socket(family, kind, number)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    if protocol != "udp":
        made.listen(64)
    return made


def main() -> None:
    name, *words = sys.argv[1:]
    sockets = [
        opened(protocol, address, int(port))
        for protocol, address, port in zip(words[::3], words[1::3], words[2::3], strict=True)
    ]
    print("ready", flush=True)
    while True:
        for ready in select.select(sockets, [], [])[0]:
            if ready.type == socket.SOCK_DGRAM:
                _, asker = ready.recvfrom(64)
                ready.sendto(name.encode(), asker)
                continue
            connection, _ = ready.accept()
            with connection:
                connection.sendall(name.encode())


if __name__ == "__main__":
    main()
