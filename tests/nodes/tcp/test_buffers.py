"""Buffers: tcp_rmem and tcp_wmem, right-sizing by what the user reads, windows that follow."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument
from nodes.packet.tcp import ACK, PSH, SYN
from nodes.tcp.connection import Connection
from nodes.tcp.parameters import Parameters

from .harness import HTTP, PEER, Host, Peer, Wire, client


def test_sizes() -> None:
    """ip-sysctl: lowest, default, highest; half of the receive buffer is window (tcp_adv_win_scale)."""
    parameters = Parameters()
    assert parameters.get("tcp_rmem") == "4096 131072 6291456"
    assert parameters.get("tcp_wmem") == "4096 16384 4194304"
    parameters.set("tcp_rmem", "4096 200000 300000")
    assert parameters.tcp_rmem == (4096, 200_000, 300_000)
    parameters.set("tcp_wmem", [10_000, 10_000, 20_000])
    assert parameters.tcp_wmem == (10_000, 10_000, 20_000)
    parameters.set("tcp_wmem", 3000)
    assert parameters.tcp_wmem == (3000, 3000, 3000)
    assert [parameters.window_of(1000)] == [500]
    for scale, window in ((0, 1000), (2, 750), (-1, 500), (-2, 250)):
        parameters.set("tcp_adv_win_scale", scale)
        assert parameters.window_of(1000) == window
    for bad in ("1 2", "3 2 1", "4096 x 5", [1, 2], "-1 1 1"):
        with pytest.raises(InvalidArgument, match="tcp_rmem"):
            parameters.set("tcp_rmem", bad)
    assert Parameters("rfc").get("tcp_rmem") == "256 65535 65535"


@pytest.mark.parametrize(
    ("rmem", "most", "options", "window", "scale"),
    [
        ("4096 131072 6291456", 4 << 20, {}, 65535, 7),
        ("4096 131072 15728640", 4 << 20, {}, 65535, 8),
        ("4096 131072 6291456", 16 << 20, {}, 65535, 9),
        ("4096 40000 40000", 40_000, {}, 20_000, 0),
        ("4096 131072 6291456", 4 << 20, {"SO_RCVBUF": 20_000}, 20_000, 0),
        ("4096 131072 6291456", 4 << 20, {"SO_RCVBUF": 1_000_000}, 65535, 4),
        ("4096 131072 6291456", 500_000, {"SO_RCVBUF": 1_000_000}, 65535, 3),
    ],
)
def test_what_the_syn_says(rmem: str, most: int, options: dict[str, object], window: int, scale: int) -> None:
    """Linux (tcp_select_initial_window): the scale is for the most that the buffer may grow to, or rmem_max lets a user
    make it; 2^(15+scale) of it."""
    host = Host(tcp_rmem=rmem, rmem_max=most, tcp_adv_win_scale=1)
    host.tcp.open(0, PEER, HTTP, options=options)
    (syn,) = host.take()
    assert (syn.window, syn.window_scale) == (window, scale)


def read_as_it_comes(wire: Wire, s: Connection, until: int) -> int:
    """The user of `s` reads whatever comes, to the instant; returns how much that was."""
    got = 0

    def read() -> bool:
        nonlocal got
        while piece := s.receive(wire.now, 1 << 20):
            got += len(piece)
        return False

    wire.run(limit=until, until=read)
    return got


def download(timestamps: int = 1, **knobs: Any) -> tuple[Connection, int]:
    """One end sends for two seconds as much as it may, over a round trip of 40 ms; the other reads at once."""
    wire = Wire(delay=20 * MILLISECOND, level=0, tcp_timestamps=timestamps, tcp_wmem=16 << 20, **knobs)
    c, s = wire.connect()
    c.send(wire.now, bytes(12 << 20))
    return s, read_as_it_comes(wire, s, wire.now + 2 * SECOND)


@pytest.mark.parametrize("timestamps", [0, 1])
def test_the_receive_buffer_grows_with_what_is_read(timestamps: int) -> None:
    """Dynamic right-sizing: a fixed window of 64 KiB lets 64 KiB / 40 ms through; a window that grows, far more."""
    triple = "4096 131072 6291456"
    fixed, little = download(timestamps, tcp_rmem=triple, tcp_adv_win_scale=1, tcp_moderate_rcvbuf=0)
    grown, much = download(timestamps, tcp_rmem=triple, tcp_adv_win_scale=1)
    assert fixed.options.rcvbuf == 65_536
    assert little <= 2 * SECOND // (40 * MILLISECOND) * 65_536
    assert much > 3 * little
    assert 65_536 < grown.options.rcvbuf <= 3_145_728


def test_the_highest_size_is_a_limit() -> None:
    s, _ = download(tcp_rmem="4096 131072 400000", tcp_adv_win_scale=1)
    assert s.options.rcvbuf == 200_000


def test_the_users_size_stays() -> None:
    """socket(7): SO_RCVBUF and SO_SNDBUF end the tuning."""
    wire = Wire(delay=20 * MILLISECOND, level=0, tcp_rmem="4096 131072 6291456", tcp_adv_win_scale=1)
    c, s = wire.connect({"SO_RCVBUF": 30_000, "SO_SNDBUF": 50_000})
    assert c.send(wire.now, bytes(100_000)) == 50_000
    read_as_it_comes(wire, s, wire.now + SECOND)
    assert (s.options.rcvbuf, c.options.sndbuf) == (30_000, 50_000)


def test_nobody_reads_nothing_grows() -> None:
    wire = Wire(level=0, tcp_rmem="4096 131072 6291456", tcp_adv_win_scale=1)
    c, s = wire.connect()
    c.send(wire.now, bytes(1 << 20))
    wire.run(limit=wire.now + SECOND)
    assert s.options.rcvbuf == 65_536
    assert 65_536 - s.rcv_mss < s.buffered <= 65_536


def test_the_send_buffer_grows_with_the_window() -> None:
    """A writer that is always held up finds room for more as the congestion window grows, to tcp_wmem's highest."""
    wire = Wire(delay=20 * MILLISECOND, level=0, tcp_wmem="4096 16384 300000", tcp_rmem=4 << 20)
    c, s = wire.connect()
    first = c.options.sndbuf
    written = 0

    def write() -> bool:
        nonlocal written
        if c.writable:
            written += c.send(wire.now, bytes(1 << 20))
        s.receive(wire.now, 1 << 20)
        return False

    wire.run(limit=wire.now + SECOND, until=write)
    assert first == 4 * 10 * c.mss
    assert c.options.sndbuf == 300_000
    # Half of it and more is under way in each round trip of 40 ms.
    assert written > 2_000_000


@pytest.mark.parametrize(("option", "knob"), [("SO_RCVBUF", "rmem_max"), ("SO_SNDBUF", "wmem_max")])
def test_no_user_gets_a_larger_buffer_than_the_host_allows(option: str, knob: str) -> None:
    """socket(7): the maximum is net.core.rmem_max, wmem_max; getsockopt gives twice what was set."""
    host = Host()
    host.parameters.set(knob, 50_000)
    c, _ = client(host)
    for asked, got in ((40_000, 80_000), (60_000, 100_000), (1 << 29, 100_000)):
        c.set_option(0, option, asked)
        assert c.get_option(option) == got


def test_a_window_that_the_data_of_the_syn_has_filled() -> None:
    """Fast Open: the first measure of what the user reads is of no window at all."""
    host = Host(tcp_fastopen=0x602, tcp_rmem="256 1000 6291456")
    listener = host.tcp.listen(0, b"", HTTP, 16, {"TCP_FASTOPEN": 16})
    peer = Peer(host, 5000, HTTP)
    peer.tsval = 1
    peer.send(SYN, 0, payload=bytes(1400), mss=1460)
    c = listener.accept(0)
    assert c is not None
    peer.irs = c.iss
    read = len(c.receive(0, 500))
    peer.tsecr = c.ts_offset
    host.after(50 * MILLISECOND)
    peer.send(ACK, 1001, 1)
    seq = 1001
    for _ in range(30):
        host.after(60 * MILLISECOND)
        peer.send(ACK | PSH, seq, 1, bytes(500))
        seq = c.rcv_nxt - peer.iss
        read += len(c.receive(host.now, 5000))
    assert read == seq - 1 > 15_000
