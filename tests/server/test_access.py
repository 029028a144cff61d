"""`tcplab serve --access`: a certificate and a token for clients elsewhere, made once."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lab.server.access import access_in
from nodes.base.errors import InvalidArgument

pytestmark = pytest.mark.requires("openssl")


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    one = access_in(tmp_path / "access", ["localhost", "127.0.0.1"])
    certificate = one.certificate.read_bytes()
    other = access_in(tmp_path / "access", ["localhost", "127.0.0.1"])
    assert other == one
    assert one.certificate.read_bytes() == certificate
    assert len(one.token) > 20
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "access").iterdir()} == {0}
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(one.certificate, one.key)


def test_other_names_take_another_certificate_and_the_token_stays(tmp_path: Path) -> None:
    one = access_in(tmp_path, ["localhost"])
    certificate = one.certificate.read_bytes()
    other = access_in(tmp_path, ["localhost", "lab.example.org"])
    assert other.token == one.token
    assert other.certificate.read_bytes() != certificate
    decoded = ssl._ssl._test_decode_cert(str(other.certificate))  # type: ignore[attr-defined]
    assert decoded["subjectAltName"] == (("DNS", "localhost"), ("DNS", "lab.example.org"))


def test_a_token_that_is_given_is_the_one(tmp_path: Path) -> None:
    assert access_in(tmp_path, ["localhost"], "secret").token == "secret"
    assert access_in(tmp_path, ["localhost"]).token == "secret"


@pytest.mark.parametrize("name", ["", "a b", "x,DNS:y", "ü.example", "a..b"])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="neither a host name nor an address"):
        access_in(tmp_path, [name])
    assert not list(tmp_path.iterdir())
