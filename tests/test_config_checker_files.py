"""What of checkers is looked at when a configuration is read: expressions and certificates."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fastvrrp.config import Severity, read
from fastvrrp.model import Configuration, HttpCheck, TlsClient

SERVER = """
virtual_server 192.0.2.1 80 {
    real_server 192.0.2.2 80 {
        HTTP_GET {
            url {
                path /good
            }
            url {
                path /
                REGEX
            }
        }
    }
}
"""


def reading(folder: Path, text: str) -> tuple[list[tuple[int, Severity, str]], Configuration]:
    """The complaints of our subject, with their lines, and the configuration."""
    path = folder / "keepalived.conf"
    path.write_text(text)
    outcome = read(str(path))
    complaints = [
        (each.place.line, each.severity, each.text)
        for each in outcome.complaints
        if not each.text.startswith(("virtual_server", "real_server", "SSL is read"))
    ]
    return complaints, outcome.configuration


@pytest.mark.keywords("url/regex", "url/regex_options")
@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('regex "a.b"', ""),
        ('regex "(a"', "missing closing parenthesis"),
        ('regex "[]x"', "missing terminating ]"),
        ('regex "[]x"\nregex_options allow_empty_class', ""),
        ('regex "a\\\\Cb"', "using \\C is disabled"),
        ('regex "(?<n>a)|(?<n>b)"', "two named subpatterns"),
        ('regex "(?<n>a)|(?<n>b)"\nregex_options dupnames', ""),
        ('regex "(*UTF)a"\nregex_options never_utf', "using UTF is disabled"),
    ],
)
def test_an_expression_that_does_not_compile_is_refused(
    lines: str, fault: str, tmp_path: Path
) -> None:
    complaints, configuration = reading(tmp_path, SERVER.replace("REGEX", lines))
    (checker,) = configuration.virtual_servers[0].real_servers[0].checkers
    assert isinstance(checker, HttpCheck)
    if not fault:
        assert not complaints
        assert len(checker.urls) == 2
        return
    ((line, severity, text),) = complaints
    assert (line, severity) == (10, Severity.ERROR)
    assert text.startswith("regex does not compile: ")
    assert fault in text
    assert text.endswith("; mend it; its url is left out")
    assert [url.path for url in checker.urls] == ["/good"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch"),
            *("-subj", "/CN=a", "-keyout", str(tmp_path / "key.pem")),
            *("-out", str(tmp_path / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return tmp_path / "certificate.pem"


@pytest.mark.keywords("SSL/ca", "SSL/certificate", "SSL/key")
def test_files_that_are_as_they_should_be(certificate: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    text = f"SSL {{\n ca {certificate}\n certificate {certificate}\n key {key}\n}}\n"
    complaints, configuration = reading(tmp_path, text)
    assert not complaints
    assert configuration.tls_client == TlsClient(str(certificate), str(certificate), str(key))


@pytest.mark.keywords("SSL/ca", "SSL/certificate", "SSL/key")
@pytest.mark.parametrize(
    ("words", "line", "severity", "fault"),
    [
        ("ca BAD", 2, Severity.ERROR, "is no certificate (PEM is wanted); SSL is left out"),
        ("ca FOLDER", 2, Severity.ERROR, "is no file; SSL is left out"),
        ("ca FIFO", 2, Severity.ERROR, "is no file; SSL is left out"),
        ("certificate GOOD", 2, Severity.ERROR, "has no key with it; write key"),
        ("certificate GOOD\nkey BAD", 3, Severity.ERROR, "is no key"),
        ("ca GOOD\ncertificate NONE", 3, Severity.WARNING, "cannot be read: No such file"),
    ],
)
def test_files_that_are_not(
    certificate: Path, tmp_path: Path, words: str, line: int, severity: Severity, fault: str
) -> None:
    (tmp_path / "bad").write_text("hello")
    os.mkfifo(tmp_path / "fifo")
    names = {
        "BAD": tmp_path / "bad",
        "FOLDER": tmp_path,
        "FIFO": tmp_path / "fifo",
        "NONE": tmp_path / "none",
        "GOOD": certificate,
    }
    for name, path in names.items():
        words = words.replace(name, str(path))
    complaints, configuration = reading(tmp_path, f"SSL {{\n{words}\n}}\n")
    ((found_line, found_severity, text),) = complaints
    assert (found_line, found_severity) == (line, severity)
    assert fault in text
    assert (configuration.tls_client == TlsClient()) is (severity is Severity.ERROR)
