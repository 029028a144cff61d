"""The parts of programs on nodes that need no node: their language, their options, how they show amounts."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes import shims
from nodes.shims.flags import Wrong, parse
from nodes.shims.line import pack, unpack
from nodes.shims.main import PROGRAMS, REFUSED, SAME
from nodes.shims.rates import rate, shown_bytes, shown_rate, size

INTEGERS = st.integers(-(2**63), 2**64 - 1)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(PLAIN)
def test_what_is_packed_here_msgpack_reads(value: Any) -> None:
    assert msgpack.unpackb(pack(value)) == value


@given(PLAIN, st.floats(allow_nan=False), st.integers(0, 70_000))
def test_what_msgpack_packs_is_read_here(value: Any, number: float, length: int) -> None:
    whole = [value, number, bytes(length), "x" * length, [1] * length, {str(key): None for key in range(length % 300)}]
    data = msgpack.packb(whole)
    assert unpack(data) == (whole, len(data))


@given(PLAIN)
def test_half_a_message_is_none(value: Any) -> None:
    data = msgpack.packb([value, "end"])
    with pytest.raises((IndexError, struct.error)):
        unpack(data[:-1])


KNOWN = {"-c": "count=", "--count": "count=", "-n": "numeric", "-q": "quiet", "-H": "header+"}


@pytest.mark.parametrize(
    "words",
    [["-c", "3", "-nq", "x"], ["-nqc3", "x"], ["x", "-q", "-n", "--count=3"], ["-n", "--count", "3", "-q", "--", "x"]],
)
def test_options_are_read_as_everywhere(words: list[str]) -> None:
    given = parse(words, KNOWN)
    assert (given.integer("count", 0), given.numeric, given.quiet, given.rest) == (3, 1, 1, ["x"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-Z"], "option -Z is not one that tcplab's has; it has -c, --count, -n, -q, -H"),
        (["-nZ"], "option -Z"),
        (["--counts=3"], "option --counts"),
        (["-c"], "option -c needs a value"),
        (["--count"], "option --count needs a value"),
    ],
)
def test_wrong_options_are_said(words: list[str], says: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse(words, KNOWN)
    assert str(caught.value).startswith(says)


def test_values_of_options() -> None:
    given = parse(["-H", "a: b", "-Hc", "-c", "7", "-", "rest"], KNOWN)
    assert (given.header, given.count, given.rest) == (["a: b", "c"], "7", ["-", "rest"])
    with pytest.raises(Wrong, match="'x' is not a number"):
        parse(["-cx"], KNOWN).integer("count", 0)
    with pytest.raises(Wrong, match="0 is not allowed; 1 to 9 is"):
        parse(["-c0"], KNOWN).integer("count", 0, 1, 9)


def test_amounts_as_iperf_reads_and_shows_them() -> None:
    assert (size("128K"), size("1M"), size("7"), rate("10M"), rate("1.5k")) == (131_072, 1_048_576, 7, 10_000_000, 1500)
    assert shown_bytes(1_181_116_006) == "1.10 GBytes"
    assert shown_bytes(13_900_000) == "13.3 MBytes"
    assert shown_rate(941e6, "a") == " 941 Mbits/sec"
    assert shown_rate(941e6, "g") == "0.94 Gbits/sec"
    assert shown_rate(8 * 1024 * 1024, "M") == "1.00 MBytes/sec"
    with pytest.raises(Wrong, match="is no amount"):
        size("many")


def test_every_program_is_there_and_can_be_run() -> None:
    there = {one.name for one in Path(shims.DIRECTORY).iterdir()} - {"launch", "tcplab"}
    assert there == {*PROGRAMS, *SAME, *REFUSED}
    assert all(os.access(Path(shims.DIRECTORY, name), os.X_OK) for name in there)


def test_where_there_is_no_node_they_say_so() -> None:
    environment = {"TCPLAB_PYTHON": sys.executable, "PATH": os.environ["PATH"]}
    run = subprocess.run([Path(shims.DIRECTORY, "ss")], env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert "no agent of a tcplab node answers in this network namespace" in run.stderr


def test_pythons_sockets_say_so_too_and_others_work() -> None:
    text = """
import errno, socket, sys
one, other = socket.socketpair()
one.send(b"unix")
print(other.recv(10), other.family.name)
try:
    socket.socket()
except OSError as error:
    print(error.errno == errno.ENETDOWN, error.strerror)
print([name for name in sys.modules if name.partition(".")[0] in ("lab", "nodes", "tcplab")])
"""
    environment = shims.environment(os.environ["PATH"])
    # Without site-packages, where an editable installation may load something of ours.
    run = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, cwd="/")
    assert run.stdout.splitlines() == [
        "b'unix' AF_UNIX",
        "True no agent of a tcplab node answers in this network namespace",
        "[]",
    ]
