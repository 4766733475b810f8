"""The TLS of SSL_GET: what the `SSL` block says, and otherwise as keepalived has it.

A server's certificate is not looked at, as under keepalived: these are servers of one's own, behind
addresses that are in no certificate.
"""

from __future__ import annotations

import ssl

from fastvrrp.model import TlsClient

IGNORE_UNEXPECTED_EOF = 0x80
"""SSL_OP_IGNORE_UNEXPECTED_EOF of OpenSSL 3: many servers close without an end of TLS."""


class TlsError(ValueError):
    """A certificate, a key or a CA that is none; names the keyword, the file and the fault."""

    def __init__(self, keyword: str, path: str, fault: str) -> None:
        super().__init__(f"{keyword} {path} {fault}")
        self.keyword = keyword
        self.path = path
        self.fault = fault


def context_of(client: TlsClient) -> ssl.SSLContext:
    """What TLS is made with. Raises TlsError. Reads files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= IGNORE_UNEXPECTED_EOF
    if client.ca is not None:
        try:
            context.load_verify_locations(client.ca)
        except (OSError, ssl.SSLError) as error:
            raise TlsError("ca", client.ca, _fault(error, "no certificate")) from error
    if client.certificate is not None:
        password = client.password or ""
        try:
            context.load_cert_chain(client.certificate, client.key, lambda: password)
        except (OSError, ssl.SSLError) as error:
            raise _blame(client, error) from error
    return context


def _blame(client: TlsClient, error: Exception) -> TlsError:
    """Whether the certificate is at fault, or the key."""
    assert client.certificate is not None
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        alone.load_verify_locations(client.certificate)
    except (OSError, ssl.SSLError) as fault:
        return TlsError("certificate", client.certificate, _fault(fault, "no certificate"))
    if client.key is None:
        return TlsError("certificate", client.certificate, "has no key with it; write key")
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return TlsError("key", client.key, f"is not that of certificate {client.certificate}")
    return TlsError("key", client.key, _fault(error, "no key, or password is not its own"))


def _fault(error: Exception, what: str) -> str:
    if isinstance(error, ssl.SSLError):
        return f"is {what} (PEM is wanted)"
    assert isinstance(error, OSError)
    return f"cannot be read: {error.strerror}"
