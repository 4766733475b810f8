"""The web configuration file that Prometheus exporters share (`--web.config.file`): TLS and users.

Its format is that of github.com/prometheus/exporter-toolkit, docs/web-configuration.md. What we
cannot do (HTTP/2 is simply not spoken) is refused, not passed over: it is there for safety.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

CIPHERS = {
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Go's names of ciphers, and OpenSSL's."""
VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
HEADERS = frozenset(
    {
        "Content-Security-Policy",
        "X-Frame-Options",
        "X-Content-Type-Options",
        "X-XSS-Protection",
        "Strict-Transport-Security",
    }
)
TLS_KEYS = frozenset(
    {
        *("cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file"),
        *("client_auth_type", "client_allowed_sans", "min_version", "max_version"),
        *("cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
    }
)
HASH = re.compile(r"\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
LONGEST_PASSWORD = 72
"""Bytes that bcrypt looks at."""


class WebConfigError(Exception):
    """The file cannot be used; the text names it and says why."""


class Users:
    """Who may ask, by user name and bcrypt's hash of a password."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._check = _bcrypt()
        for user, text in hashes.items():
            if HASH.fullmatch(text) is None:
                raise WebConfigError(f"the password of {user} is no hash of bcrypt")
        self._hashes = {user: text.encode() for user, text in hashes.items()}
        self._decoy = next(iter(self._hashes.values()), b"")
        self._salt = os.urandom(16)
        self._at_work = Lock()
        """One password at a time: others of the machine need their processors."""
        self._known: set[bytes] = set()
        """Digests of what was found right: bcrypt takes a tenth of a second."""

    def admits(self, user: str, password: str) -> bool:
        """Whether that is a user with the password. One who is unknown takes as long as another."""
        given = password.encode()[:LONGEST_PASSWORD]
        digest = hmac.digest(self._salt, user.encode() + b"\0" + given, hashlib.sha256().name)
        if digest in self._known:
            return True
        with self._at_work:
            is_right = self._check(given, self._hashes.get(user, self._decoy))
        if not is_right or user not in self._hashes:
            return False
        self._known.add(digest)
        return True


class WebConfig:
    """What the file says."""

    def __init__(self) -> None:
        self.tls: ssl.SSLContext | None = None
        self.users: Users | None = None
        self.headers: dict[str, str] = {}
        self.allowed_names: frozenset[str] = frozenset()
        """Of client certificates; empty admits each that is verified."""

    @classmethod
    def read(cls, path: Path) -> WebConfig:
        """Raises WebConfigError."""
        try:
            said = _yaml()(path.read_text())
        except OSError as error:
            raise WebConfigError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise WebConfigError(f"{path}: {' '.join(str(error).split())}") from None
        try:
            return cls._of(said or {}, path.parent)
        except (WebConfigError, OSError, ValueError) as error:
            raise WebConfigError(f"{path}: {error}") from None
        except (AttributeError, TypeError):  # a list for a mapping, a number for a list
            raise WebConfigError(f"{path}: a value is not of the kind that its key has") from None

    @classmethod
    def _of(cls, said: Any, folder: Path) -> WebConfig:
        made = cls()
        _only(said, {"tls_server_config", "http_server_config", "basic_auth_users"}, "the file")
        tls = said.get("tls_server_config")
        if tls:
            _only(tls, TLS_KEYS, "tls_server_config")
            made.tls = _context(tls, folder)
            made.allowed_names = frozenset(tls.get("client_allowed_sans") or ())
        http = said.get("http_server_config") or {}
        _only(http, {"http2", "headers"}, "http_server_config")
        made.headers = {str(k): str(v) for k, v in (http.get("headers") or {}).items() if v}
        _only(made.headers, HEADERS, "headers")
        users = said.get("basic_auth_users")
        if users:
            if not isinstance(users, Mapping):
                raise WebConfigError("basic_auth_users is no mapping of names to hashes")
            made.users = Users({str(name): str(text) for name, text in users.items()})
        return made

    def admits_certificate(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client's certificate (`SSLSocket.getpeercert`) has a name that is allowed."""
        if not self.allowed_names:
            return True
        names = (certificate or {}).get("subjectAltName", ())
        return any(name in self.allowed_names for _, name in names)


def _only(said: Any, known: frozenset[str] | set[str], where: str) -> None:
    if not isinstance(said, Mapping):
        raise WebConfigError(f"{where} is no mapping of keys to values")
    for key in said:
        if key not in known:
            raise WebConfigError(
                f"{where} has {key}, which fastvrrp cannot do; it has {', '.join(sorted(known))}"
            )


def _context(said: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _choice(said, "min_version", "TLS12", VERSIONS)
    context.maximum_version = _choice(said, "max_version", "TLS13", VERSIONS)
    with _file(said, "cert", folder) as certificate, _file(said, "key", folder) as key:
        if certificate is None or key is None:
            raise WebConfigError("tls_server_config needs cert_file and key_file")
        context.load_cert_chain(certificate, key)
    context.verify_mode = _choice(said, "client_auth_type", "NoClientCert", CLIENTS)
    with _file(said, "client_ca", folder) as authority:
        if context.verify_mode != ssl.CERT_NONE:
            if authority is None:
                raise WebConfigError("client_auth_type needs client_ca_file")
            context.load_verify_locations(authority)
        elif authority is not None:
            why = "without it nobody is asked"
            raise WebConfigError(f"client_ca_file needs client_auth_type: {why}")
        elif said.get("client_allowed_sans"):
            raise WebConfigError("client_allowed_sans needs client_auth_type")
    if said.get("cipher_suites"):
        names = [_choice({"": name}, "", "", CIPHERS) for name in said["cipher_suites"]]
        context.set_ciphers(":".join(names))
    if said.get("curve_preferences"):
        raise WebConfigError("curve_preferences cannot be chosen here; remove it")
    return context


def _choice(said: Mapping[str, Any], key: str, default: str, choices: Mapping[str, Any]) -> Any:
    value = str(said.get(key) or default)
    if value not in choices:
        raise WebConfigError(
            f"{key or 'cipher_suites'} {value} is not to be had; there are {', '.join(choices)}"
        )
    return choices[value]


@contextmanager
def _file(said: Mapping[str, Any], name: str, folder: Path) -> Iterator[str | None]:
    """The path of what is in a file, or stands in the configuration itself: that is in a file
    meanwhile, since OpenSSL reads files."""
    if said.get(name):
        held = os.memfd_create(name)
        try:
            os.write(held, str(said[name]).encode())
            yield f"/proc/self/fd/{held}"
        finally:
            os.close(held)
        return
    path = said.get(f"{name}_file")
    yield str(folder / str(path)) if path else None


def _yaml() -> Callable[[str], Any]:
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise WebConfigError(_missing("PyYAML")) from None

    def read(text: str) -> Any:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from None
        except (AttributeError, LookupError, TypeError, RecursionError):  # of PyYAML itself
            raise ValueError("a value is not what its tag says, or stands too deep") from None

    return read


def _bcrypt() -> Callable[[bytes, bytes], bool]:
    try:
        bcrypt = import_module("bcrypt")
    except ImportError:
        raise WebConfigError(_missing("bcrypt")) from None
    check: Callable[[bytes, bytes], bool] = bcrypt.checkpw
    return check


def _missing(package: str) -> str:
    return f"{package} is not installed; pip install 'fastvrrp[web]'"
