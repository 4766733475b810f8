"""aiosmtpd on a port, in a process of its own: `python mail_server.py PORT`.

Its own command looks its name up for every connection, which takes seconds where nobody answers.
"""

from __future__ import annotations

import asyncio
import sys

from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Sink(), hostname="mail.example.org", loop=loop), "0.0.0.0", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
