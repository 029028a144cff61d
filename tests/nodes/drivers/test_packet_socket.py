"""Packet sockets on real interfaces."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from nodes.base.errors import InvalidArgument, NotFound
from nodes.drivers.packet_socket import PacketSocket, close_sockets, open_sockets
from tests.namespaces import Namespace, veth
from tests.nodes.drivers.conftest import Pair

pytestmark = pytest.mark.requires("root")

EXPERIMENTAL = b"\x88\xb5"
BROADCAST = b"\xff" * 6


def frame(payload: bytes, to: bytes = BROADCAST) -> bytes:
    return to + b"\x02\x00\x00\x00\x00\x99" + EXPERIMENTAL + payload.ljust(46, b".")


def take(packets: PacketSocket, count: int) -> list[tuple[int, bytes]]:
    """Wait for so many frames, up to 5 s."""
    got: list[tuple[int, bytes]] = []
    while len(got) < count and select.select([packets], [], [], 5)[0]:
        got += packets.receive(count - len(got))
    return got


@pytest.fixture(params=[64, 0], ids=["ring", "messages"])
def ring_frames(request: pytest.FixtureRequest) -> int:
    frames: int = request.param
    return frames


@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_frames_cross_unchanged_in_order_with_the_instant_they_came(mtu: int, ring_frames: int) -> None:
    one, other = Namespace(), Namespace()
    veth(one, other, mtu=mtu)
    with contextlib.closing(one.call(PacketSocket, "eth0")) as sender:
        receiver = other.call(PacketSocket, "eth0", ring_frames=ring_frames)
        with contextlib.closing(receiver):
            assert receiver.has_ring == bool(ring_frames)
            sent = [frame(os.urandom(size)) for size in (1, 46, 99, mtu - 1, mtu)] * 3
            before = time.time_ns()
            assert all(sender.send(each) for each in sent)
            after = time.time_ns()
            got = take(receiver, len(sent))
            if not ring_frames:
                # The kernel begins to stamp a little after it was asked to; until then it does when frames are taken.
                after = time.time_ns()
            assert [data for _, data in got] == sent
            stamps = [stamp for stamp, _ in got]
            assert stamps == sorted(stamps)
            assert before <= stamps[0] <= stamps[-1] <= after
            assert receiver.receive(10) == []
            assert receiver.statistics().received == len(sent)
            assert sender.statistics().sent == len(sent)
    one.close()
    other.close()


def test_neither_what_leaves_nor_what_came_before_is_received(pair: Pair, ring_frames: int) -> None:
    sender = pair.one.call(PacketSocket, "eth0", ring_frames=ring_frames)
    early = pair.one.call(PacketSocket, "eth0")
    sender.send(frame(b"early"))
    receiver = pair.other.call(PacketSocket, "eth0", ring_frames=ring_frames)
    sender.send(frame(b"late"))
    assert [data for _, data in take(receiver, 1)] == [frame(b"late")]
    assert receiver.receive(10) == sender.receive(10) == early.receive(10) == []
    for each in (sender, early, receiver):
        each.close()


def test_frames_for_others_are_received(pair: Pair) -> None:
    sender, receiver = pair.one.call(PacketSocket, "eth0"), pair.other.call(PacketSocket, "eth0")
    stranger = frame(b"x", to=b"\x02\x00\x00\x00\x00\x77")
    sender.send(stranger)
    assert [data for _, data in take(receiver, 1)] == [stranger]
    sender.close()
    receiver.close()


def test_a_full_ring_drops_the_latest_and_counts_them(pair: Pair) -> None:
    sender, receiver = pair.one.call(PacketSocket, "eth0"), pair.other.call(PacketSocket, "eth0", ring_frames=64)
    room = receiver.memory // 1500  # at most: each has room for the MTU and more
    sent = [frame(number.to_bytes(4, "big")) for number in range(room + 100)]
    for each in sent:
        assert sender.send(each)
    got = receiver.receive(len(sent))
    counted = receiver.statistics()
    assert 64 <= len(got) <= room
    assert [data for _, data in got] == sent[: len(got)]
    assert (counted.received, counted.dropped) == (len(got), len(sent) - len(got))
    # and it goes on from there, around its end
    for each in sent[:70]:
        sender.send(each)
        assert [data for _, data in receiver.receive(5)] == [each]
    again = receiver.statistics()
    assert (again.received, again.dropped) == (len(got) + 70, counted.dropped)
    sender.close()
    receiver.close()


def test_a_ring_of_the_default_size_is_less_than_a_megabyte(pair: Pair) -> None:
    with contextlib.closing(pair.one.call(PacketSocket, "eth0")) as packets:
        assert packets.has_ring
        assert packets.memory < 1_000_000


def test_a_vlan_tag_is_where_it_was(pair: Pair, ring_frames: int) -> None:
    sender, receiver = (
        pair.one.call(PacketSocket, "eth0"),
        pair.other.call(PacketSocket, "eth0", ring_frames=ring_frames),
    )
    for protocol in (b"\x81\x00", b"\x88\xa8"):
        tagged = frame(b"tagged")[:12] + protocol + b"\x60\x2a" + frame(b"tagged")[12:]
        sender.send(tagged)
        assert [data for _, data in take(receiver, 1)] == [tagged]
    sender.close()
    receiver.close()


def test_checksums_left_to_the_interface_are_noticed(ring_frames: int) -> None:
    one, other = Namespace(), Namespace()
    veth(one, other, offloads=True)
    one.address("eth0", "10.0.0.1", 24)
    with one.entered(), IPRoute() as ip:
        ip.neigh("add", dst="10.0.0.2", lladdr=other.mac("eth0").hex(":"), ifindex=socket.if_nametoindex("eth0"))
    receiver = other.call(PacketSocket, "eth0", ring_frames=ring_frames)
    with one.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("10.0.0.2", 9))
        take(receiver, 1)
        assert receiver.statistics().checksum_missing == 1
        one.offloads_off("eth0")
        udp.sendto(b"x", ("10.0.0.2", 9))
        take(receiver, 1)
        assert receiver.statistics().checksum_missing == 1
    receiver.close()
    one.close()
    other.close()


def test_an_interface_that_is_down_takes_nothing_and_wakes_nobody(pair: Pair, ring_frames: int) -> None:
    sender, receiver = (
        pair.one.call(PacketSocket, "eth0"),
        pair.other.call(PacketSocket, "eth0", ring_frames=ring_frames),
    )
    pair.one.up("eth0", False)
    assert not sender.send(frame(b"lost"))
    assert sender.receive(1) == receiver.receive(1) == []
    assert select.select([sender, receiver], [], [], 0)[0] == []
    pair.one.up("eth0")
    assert sender.send(frame(b"back"))
    assert [data for _, data in take(receiver, 1)] == [frame(b"back")]
    counted = sender.statistics()
    assert (counted.sent, counted.not_sent) == (1, 1)
    sender.close()
    receiver.close()


def test_an_interface_that_is_gone_takes_nothing_and_wakes_nobody(pair: Pair, ring_frames: int) -> None:
    sender, receiver = (
        pair.one.call(PacketSocket, "eth0"),
        pair.other.call(PacketSocket, "eth0", ring_frames=ring_frames),
    )
    with pair.one.entered(), IPRoute() as ip:
        ip.link("del", index=socket.if_nametoindex("eth0"))
    assert not sender.send(frame(b"lost"))
    assert sender.receive(1) == receiver.receive(1) == []
    assert select.select([sender, receiver], [], [], 0)[0] == []
    sender.close()
    receiver.close()


def test_a_closed_socket_sends_nothing(pair: Pair) -> None:
    sender = pair.one.call(PacketSocket, "eth0")
    sender.close()
    sender.close()
    assert not sender.send(frame(b"x"))


@pytest.mark.parametrize("size", [0, 13, 1515])
def test_a_frame_that_no_wire_takes_is_not_sent(pair: Pair, size: int) -> None:
    with contextlib.closing(pair.one.call(PacketSocket, "eth0")) as sender:
        assert not sender.send(bytes(size))
        assert sender.statistics().not_sent == 1


def test_frames_longer_than_the_mtu_are_dropped_and_counted(pair: Pair, ring_frames: int) -> None:
    sender = pair.one.call(PacketSocket, "eth0")
    receiver = pair.other.call(PacketSocket, "eth0", ring_frames=ring_frames)
    for end in pair:
        with end.entered(), IPRoute() as ip:
            ip.link("set", index=socket.if_nametoindex("eth0"), mtu=9000)
    sender.send(frame(bytes(8000)))
    sender.send(frame(b"short"))
    assert [data for _, data in take(receiver, 1)] == [frame(b"short")]
    assert receiver.statistics().too_long == 1
    sender.close()
    receiver.close()


def test_two_hundred_sockets_in_one_process() -> None:
    hub = Namespace()
    other = Namespace()
    with hub.entered(), IPRoute() as ip:
        for number in range(100):
            peer = {"ifname": f"e{number}", "net_ns_fd": other.descriptor}
            ip.link("add", ifname=f"e{number}", kind="veth", state="up", peer=peer)
    with other.entered(), IPRoute() as ip:
        for index, _ in socket.if_nameindex():
            ip.link("set", index=index, state="up")
    names = [f"e{number}" for number in range(100)]
    near = hub.call(open_sockets, names, ring_frames=128)
    far = other.call(open_sockets, names, ring_frames=128)
    for number, each in enumerate(near):
        each.send(frame(number.to_bytes(2, "big")))
    for number, each in enumerate(far):
        assert frame(number.to_bytes(2, "big")) in [data for _, data in take(each, 1)]
    assert all(each.has_ring for each in near + far)
    close_sockets(near + far)
    hub.close()
    other.close()


def test_of_many_sockets_all_are_opened_or_none(pair: Pair) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(NotFound, match="eth9"):
        pair.one.call(open_sockets, ["eth0", "eth9", "eth0"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_bad_names_are_refused(pair: Pair) -> None:
    with pytest.raises(NotFound, match="no interface eth7"):
        pair.one.call(PacketSocket, "eth7")
    for name in ("", "x" * 16):
        with pytest.raises(InvalidArgument, match="interface"):
            pair.one.call(PacketSocket, name)
    with pytest.raises(InvalidArgument, match="ring_frames"):
        pair.one.call(PacketSocket, "eth0", ring_frames=-1)
