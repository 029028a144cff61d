"""Knobs, options, counters, ISNs, sequence numbers, reassembly: the small parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.base.errors import InvalidArgument
from nodes.base.random import RandomStream
from nodes.tcp.counters import NAMES as COUNTER_NAMES
from nodes.tcp.counters import Counters
from nodes.tcp.isn import IsnGenerator
from nodes.tcp.options import NAMES as OPTION_NAMES
from nodes.tcp.parameters import KNOBS, NAMES, Knob, Parameters
from nodes.tcp.reassembly import Reassembly
from nodes.tcp.sendqueue import SendQueue
from nodes.tcp.seq import MASK, before, unwrap

from . import scenes
from .harness import HTTP, PEER, Host


def test_profiles() -> None:
    """Linux's values by default, the RFCs' on request."""
    linux, rfc = Parameters(), Parameters("rfc")
    assert (linux.profile, linux.tcp_msl_ms, linux.tcp_rto_min_ms, linux.tcp_retries2) == ("linux", 30_000, 200, 15)
    assert (rfc.tcp_msl_ms, rfc.tcp_rto_min_ms, rfc.tcp_delack_ms) == (120_000, 1000, 200)
    for name in NAMES:
        other = Parameters()
        other.set(name, linux.get(name))
    assert list(linux.as_dict()) == list(NAMES)


@pytest.mark.parametrize("knob", KNOBS, ids=lambda k: k.name)
def test_knobs_take_their_range_and_nothing_else(knob: Knob) -> None:
    parameters = Parameters()
    for value in (knob.lowest, knob.highest, str(knob.highest)):
        parameters.set(knob.name, value)
        assert parameters.get(knob.name) == int(value)
    for bad in (knob.lowest - 1, knob.highest + 1, "many", "", None, 1.5, "1_000", "٣"):
        allowed = f"{knob.name}: .* an integer from {knob.lowest} to {knob.highest} is"
        with pytest.raises(InvalidArgument, match=allowed) as e:
            parameters.set(knob.name, bad)
        assert e.value.field == knob.name
    assert parameters.get(knob.name) == knob.highest


def test_other_knobs() -> None:
    parameters = Parameters()
    with pytest.raises(InvalidArgument, match="tcp_fack: no such parameter; there are profile, tcp_syn_retries"):
        parameters.set("tcp_fack", 1)
    with pytest.raises(InvalidArgument, match="profile: 'bsd' is not allowed; one of linux, rfc is"):
        parameters.set("profile", "bsd")
    with pytest.raises(InvalidArgument, match="tcp_congestion_control: 'westwood' is not allowed; one of reno"):
        parameters.set("tcp_congestion_control", "westwood")
    parameters.set("ip_local_port_range", "5000 5001")
    assert parameters.get("ip_local_port_range") == "5000 5001"
    for bad in ("5000", "0 10", "10 5", "a b", [1, 2, 3], 7):
        with pytest.raises(InvalidArgument, match="ip_local_port_range"):
            parameters.set("ip_local_port_range", bad)
    assert parameters.ip_local_port_range == (5000, 5001)


def test_options() -> None:
    host, c, *_ = scenes.established(Host())
    for name in OPTION_NAMES:
        if name != "TCP_MAXSEG":
            c.set_option(0, name, c.get_option(name))
    with pytest.raises(InvalidArgument, match="TCP_NODELAY: 2 is not allowed; an integer from 0 to 1 is"):
        c.set_option(0, "TCP_NODELAY", 2)
    with pytest.raises(InvalidArgument, match="SO_NONSENSE: no such option; there are TCP_NODELAY"):
        c.set_option(0, "SO_NONSENSE", 2)
    c.set_option(0, "TCP_CONGESTION", "reno")
    assert c.status(0).congestion == "reno"
    with pytest.raises(InvalidArgument, match="TCP_CONGESTION: 'westwood'"):
        host.tcp.open(0, PEER, HTTP, options={"TCP_CONGESTION": "westwood"})
    assert len(host.tcp.connections) == 1


def test_a_listeners_options_are_copied() -> None:
    host = Host()
    listener = host.tcp.listen(0, b"", HTTP, 1, {"TCP_NODELAY": 1})
    listener.set_option(0, "SO_KEEPALIVE", 1)
    assert (listener.get_option("TCP_NODELAY"), listener.get_option("SO_KEEPALIVE")) == (1, 1)


def test_counters() -> None:
    counters = Counters()
    counters.TcpInSegs += 2
    assert list(counters.as_dict()) == list(COUNTER_NAMES)
    assert counters.as_dict()["TcpInSegs"] == 2
    assert sum(counters.as_dict().values()) == 2


@pytest.mark.rfc("9293", "MUST-8", "SHLD-1", "MUST-9")
def test_isn() -> None:
    """RFC 6528 section 3: a 4-microsecond clock plus a keyed hash of the 4-tuple."""
    isn = IsnGenerator(RandomStream(1, "secret"))
    tuple_a, tuple_b = (b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 2), (b"\x0a\0\0\1", 1, b"\x0a\0\0\2", 3)
    first = isn.initial_sequence(0, *tuple_a)
    assert (isn.initial_sequence(4_000_000, *tuple_a) - first) & MASK == 1000
    assert isn.initial_sequence(0, *tuple_b) != first
    assert IsnGenerator(RandomStream(2, "secret")).initial_sequence(0, *tuple_a) != first
    assert IsnGenerator(RandomStream(1, "secret")).initial_sequence(0, *tuple_a) == first


@given(near=st.integers(0, 2**40), distance=st.integers(-(2**31) + 1, 2**31 - 1))
def test_unwrap(near: int, distance: int) -> None:
    """RFC 9293 section 3.4: the number within half the space."""
    assert unwrap((near + distance) & MASK, near) == near + distance
    assert before(near & MASK, (near + distance) & MASK) is (distance > 0)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=30), st.integers(0, 10))
def test_reassembly(pieces: list[tuple[int, int]], start: int) -> None:
    """Whatever overlaps, what comes out is the stream, once, up to the first hole."""
    stream = bytes(range(100))
    held = Reassembly()
    have: set[int] = set()
    for seq, size in pieces:
        new = set(range(seq, seq + size)) - have
        assert held.add(seq, stream[seq : seq + size]) is bool(new)
        have |= new
        assert held.length == len(have)
    end = start
    while end in have:
        end += 1
    assert b"".join(held.take(start)) == stream[start:end]
    assert held.length == len([n for n in have if n > end])


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=10), st.lists(st.integers(1, 15), max_size=60))
def test_send_queue(writes: list[bytes], sizes: list[int]) -> None:
    queue = SendQueue()
    ends = set()
    for write in writes:
        queue.append(write)
        ends.add(queue.length)
    taken = b""
    for size in sizes:
        if size <= queue.length:
            taken += queue.take(size)
            assert queue.at_write_end is (len(taken) in ends)
    assert b"".join(writes).startswith(taken)
    assert queue.length == sum(map(len, writes)) - len(taken)
