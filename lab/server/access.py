"""A certificate and a token for a controller that others reach, made where there are none."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nodes.base.errors import InvalidArgument, Unsupported

_DAYS: Final = 3650


@dataclass(frozen=True)
class Access:
    """Files of a directory. Clients are given `certificate` (it signs itself) and the token; `key` stays secret."""

    certificate: Path
    key: Path
    token: str


def access_in(directory: Path, names: Sequence[str], token: str = "") -> Access:
    """What is in a directory, made first when it is not there or is for other names.

    `names` are the host names and addresses by which clients reach the controller. A `token` that is given takes the
    place of the one that is there. Raises InvalidArgument for a name that is none, Unsupported without openssl.
    """
    alternatives = ",".join(_alternative(name) for name in names)
    certificate, key, kept = (directory / name for name in ("cert.pem", "key.pem", "token"))
    made_for = directory / "names"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (certificate.exists() and key.exists() and _text(made_for) == alternatives):
        _make(certificate, key, alternatives)
        _write(made_for, alternatives)
    if not token:
        token = _text(kept) or secrets.token_urlsafe(24)
    if _text(kept) != token:
        _write(kept, token)
    return Access(certificate, key, token)


def _make(certificate: Path, key: Path, alternatives: str) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(_DAYS), "-subj", "/CN=tcplab", "-addext", f"subjectAltName={alternatives}"]
    try:
        done = subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)], capture_output=True, text=True, umask=0o077
        )
    except FileNotFoundError:
        raise Unsupported(
            "making a certificate takes the program openssl, which is not here; give --cert and --key instead"
        ) from None
    if done.returncode:
        raise Unsupported(f"openssl makes no certificate: {done.stderr.strip()[-500:]}")


def _alternative(name: str) -> str:
    """As openssl wants it. Raises InvalidArgument."""
    with contextlib.suppress(ValueError):
        return f"IP:{ipaddress.ip_address(name)}"
    if not name or not all(part and part.replace("-", "").isalnum() for part in name.split(".")) or not name.isascii():
        raise InvalidArgument(f"{name[:80]!r} is neither a host name nor an address", "names")
    return f"DNS:{name}"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text + "\n")
