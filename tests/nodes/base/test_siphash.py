"""SipHash-2-4 against the vectors of its authors' reference implementation, and cookies of Linux's."""

from __future__ import annotations

import pytest

from nodes.base.siphash import siphash


@pytest.mark.parametrize(
    ("length", "digest"),
    [(0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (8, 0x93F5F5799A932462), (15, 0xA129CA6149BE45E5)],
)
def test_reference_vectors(length: int, digest: int) -> None:
    assert siphash(bytes(range(16)), bytes(range(length))) == digest


def test_a_fast_open_cookie_of_linux() -> None:
    """What a kernel with tcp_fastopen_key a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4 gives 192.0.2.1 at 192.168.0.1."""
    key = b"".join(word * 4 for word in (b"\xa1", b"\xb2", b"\xc3", b"\xd4"))
    assert siphash(key, bytes((192, 0, 2, 1, 192, 168, 0, 1))) == int.from_bytes(
        bytes.fromhex("3021b9d889017eeb"), "little"
    )
