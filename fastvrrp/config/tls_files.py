"""The files of the `SSL` block, and the TLS that SSL_GET makes with them.

A server's certificate is not looked at, as under keepalived: these are servers of one's own, behind
addresses that are in no certificate.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from fastvrrp.model import TlsClient

IGNORE_UNEXPECTED_EOF = 0x80
"""SSL_OP_IGNORE_UNEXPECTED_EOF of OpenSSL 3: many servers close without an end of TLS."""


class TlsError(ValueError):
    """A certificate, a key or a CA that is none; names the keyword, the file and the fault."""

    def __init__(self, keyword: str, path: str, fault: str, is_missing: bool = False) -> None:
        super().__init__(f"{keyword} {path} {fault}")
        self.is_missing = is_missing
        """It cannot be read."""
        self.keyword = keyword
        self.path = path
        self.fault = fault


def context_of(client: TlsClient) -> ssl.SSLContext:
    """What TLS is made with. Raises TlsError. Reads files."""
    for keyword in ("ca", "certificate", "key"):
        path = getattr(client, keyword)
        if path is not None and not _may_be_read(path):
            raise TlsError(keyword, path, "is no file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= IGNORE_UNEXPECTED_EOF
    if client.ca is not None:
        try:
            context.load_verify_locations(client.ca)
        except OSError as error:
            raise _blame("ca", client.ca, error, "no certificate") from error
    if client.certificate is not None:
        password = (client.password or "").encode("utf-8", "surrogateescape")
        try:
            context.load_cert_chain(client.certificate, client.key, lambda: password)
        except OSError as error:
            raise _blame_one(client, client.certificate, error) from error
        except ValueError as error:
            raise TlsError("key", client.key or client.certificate, f"with {error}") from error
    return context


def _may_be_read(path: str) -> bool:
    """Whether nobody would wait for it, as for a FIFO."""
    return "\0" not in path and (Path(path).is_file() or not Path(path).exists())


def _blame_one(client: TlsClient, certificate: str, error: OSError) -> TlsError:
    """Whether the certificate is at fault, or the key."""
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        alone.load_verify_locations(certificate)
    except OSError as fault:
        return _blame("certificate", certificate, fault, "no certificate")
    if client.key is None:
        return TlsError("certificate", certificate, "has no key with it; write key")
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return TlsError("key", client.key, f"is not that of certificate {certificate}")
    return _blame("key", client.key, error, "no key, or password is not its own")


def _blame(keyword: str, path: str, error: OSError, what: str) -> TlsError:
    if isinstance(error, ssl.SSLError):  # which is an OSError
        return TlsError(keyword, path, f"is {what} (PEM is wanted)")
    return TlsError(keyword, path, f"cannot be read: {error.strerror}", is_missing=True)
