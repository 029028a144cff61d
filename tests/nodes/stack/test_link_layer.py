"""What a Stack puts on the wire for ARP, and when; seen as bytes."""

from __future__ import annotations

import pytest

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import AlreadyExists, InvalidArgument, SocketError
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.ip.neighbours import MAX_UNASKED, MAX_WAITING
from nodes.ip.ping import PingAnswer
from nodes.packet import ipv4
from nodes.packet.ipv4 import decode_ipv4
from nodes.packet.udp import decode_udp
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.nodes.net import ip, mac

REQUEST = bytes.fromhex(
    "ffffffffffff 020000000001 08060001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
)
REPLY = bytes.fromhex("020000000001 020000000002 08060001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001")


def host(address: str = "10.0.0.1", number: int = 1) -> Stack:
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    stack.add_interface("eth0", mac(number), ip(address), 24)
    return stack


def frames(stack: Stack) -> list[bytes]:
    return [frame for _, frame in stack.pull()]


def send(stack: Stack, now: int, payload: bytes, to: str = "10.0.0.2") -> None:
    stack.udp.bind().send_to(now, payload, ip(to), 9)


def payloads(sent: list[bytes]) -> list[bytes]:
    packets = [decode_ipv4(frame[14:]) for frame in sent]
    return [decode_udp(packet.payload, packet.src, packet.dst).payload for packet in packets]


def test_packets_wait_for_the_reply_and_leave_in_order() -> None:
    stack = host()
    send(stack, 0, b"first")
    send(stack, 0, b"second")
    assert frames(stack) == [REQUEST]
    stack.on_frame(5, 0, REPLY)
    sent = frames(stack)
    assert [frame[:14].hex() for frame in sent] == ["0200000000020200000000010800"] * 2
    assert payloads(sent) == [b"first", b"second"]
    assert stack.next_deadline() > SECOND * 100  # no timer runs any more


def test_a_request_is_answered_and_its_sender_remembered() -> None:
    stack = host("10.0.0.2", 2)
    stack.on_frame(0, 0, REQUEST)
    assert frames(stack) == [REPLY]
    send(stack, 1, b"known already", "10.0.0.1")
    assert payloads(frames(stack)) == [b"known already"]


def test_a_request_for_somebody_else_is_neither_answered_nor_remembered() -> None:
    stack = host("10.0.0.3", 3)
    stack.on_frame(0, 0, REQUEST)
    assert frames(stack) == []
    send(stack, 1, b"", "10.0.0.1")
    assert frames(stack)[0][12:14] == b"\x08\x06"


def test_requests_are_repeated_then_the_sender_learns_that_the_host_is_unreachable() -> None:
    stack = host()
    answers: list[PingAnswer] = []
    stack.icmp.pings.open(ip("10.0.0.2"), answers.append).send(0, 1)
    for second in (1, 2):
        assert frames(stack) == [REQUEST]
        assert stack.next_deadline() == second * SECOND
        stack.on_timer(second * SECOND)
    assert frames(stack) == [REQUEST]
    stack.on_timer(3 * SECOND)
    assert frames(stack) == []
    assert [(answer.type, answer.code) for answer in answers] == [(3, 1)]
    assert stack.counters.IpOutDiscards == 1
    send(stack, 4 * SECOND, b"")
    assert frames(stack) == [REQUEST]  # it is tried anew


def test_a_connection_attempt_fails_when_nobody_answers_arp() -> None:
    stack = host()
    connection = stack.tcp.open(0, ip("10.0.0.2"), 80)
    for second in (1, 2, 3):
        stack.on_timer(second * SECOND)
    with pytest.raises(SocketError, match="EHOSTUNREACH"):
        connection.receive(3 * SECOND, 1)


def test_the_waiting_queue_is_bounded_and_the_oldest_gives_way() -> None:
    stack = host()
    for number in range(MAX_WAITING + 2):
        send(stack, 0, b"%d" % number)
    assert frames(stack) == [REQUEST]
    stack.on_frame(0, 0, REPLY)
    assert payloads(frames(stack)) == [b"%d" % number for number in range(2, MAX_WAITING + 2)]
    assert stack.interfaces[0].tx_dropped == 2


def test_a_stale_entry_is_used_while_the_neighbour_itself_is_asked() -> None:
    stack = host()
    send(stack, 0, b"")
    stack.on_frame(0, 0, REPLY)
    stack.pull()
    later = stack.parameters.base_reachable_time_ms * MILLISECOND
    send(stack, later - 1, b"fresh")
    assert payloads(frames(stack)) == [b"fresh"]
    send(stack, later, b"stale")
    request, packet = frames(stack)
    assert request == mac(2) + REQUEST[6:] and payloads([packet]) == [b"stale"]
    stack.on_frame(later + 1, 0, REPLY)
    send(stack, later + 2, b"fresh again")
    assert payloads(frames(stack)) == [b"fresh again"]


def test_a_neighbour_that_falls_silent_is_still_sent_to_until_another_mac_address_answers() -> None:
    stack = host()
    send(stack, 0, b"")
    stack.on_frame(0, 0, REPLY)
    stack.pull()
    later = stack.parameters.base_reachable_time_ms * MILLISECOND
    send(stack, later, b"stale")
    for second in (1, 2, 3):
        stack.on_timer(later + second * SECOND)
    sent = frames(stack)
    assert [frame for frame in sent if frame[12:14] == b"\x08\x06"] == [mac(2) + REQUEST[6:], REQUEST, REQUEST]
    send(stack, later + 9 * SECOND, b"still")
    assert frames(stack)[-1][:6] == mac(2)
    stack.on_frame(later + 10 * SECOND, 0, REPLY.replace(mac(2), mac(7)))
    send(stack, later + 11 * SECOND, b"moved")
    assert [frame[:6] for frame in frames(stack)] == [mac(7)]


def test_nobody_else_can_claim_our_own_address() -> None:
    stack = host()
    claim = bytearray(REPLY)
    claim[28:32] = ip("10.0.0.1")
    stack.on_frame(0, 0, bytes(claim))
    assert stack.neighbours.entries() == []


def test_floods_of_requests_and_of_destinations_are_bounded() -> None:
    stack = Stack("h1", Parameters(), Randomness(1), EventSink())
    stack.add_interface("eth0", mac(1), ip("10.0.0.1"), 8)
    socket = stack.udp.bind()
    for number in range(2, 6000):
        stack.on_frame(0, 0, REQUEST[:28] + number.to_bytes(4, "big") + bytes(6) + ip("10.0.0.1"))
    assert len(stack.neighbours.entries()) == MAX_UNASKED
    stack.pull()
    for number in range(2, 6000):
        socket.send_to(0, b"", ip(f"10.9.{number >> 8}.{number & 255}"), 9)
    assert len(stack.pull()) == 5998  # each is asked for
    assert len(stack.neighbours.entries()) < MAX_UNASKED  # and who was only heard of made room
    send(stack, 0, b"as ever")
    stack.on_frame(0, 0, REPLY)
    assert payloads(frames(stack)[1:]) == [b"as ever"]


def test_frames_for_others_unknown_types_and_fragments_of_frames() -> None:
    stack = host("10.0.0.2", 2)
    stack.on_frame(0, 0, mac(9) + REQUEST[6:])
    stack.on_frame(0, 0, mac(2) + mac(1) + b"\x86\xdd" + bytes(40))
    for size in range(len(REQUEST)):
        stack.on_frame(0, 0, REQUEST[:size])
    assert frames(stack) == []
    eth0 = stack.interfaces[0]
    assert (eth0.rx_packets, eth0.rx_dropped) == (2 + len(REQUEST), 1)


def test_directed_broadcast_needs_no_arp() -> None:
    stack = host()
    send(stack, 0, b"all", "10.0.0.255")
    (frame,) = frames(stack)
    assert frame[:6] == b"\xff" * 6 and frame[30:34] == ip("10.0.0.255")
    other = host("10.0.0.2", 2)
    socket = other.udp.bind(port=9)
    other.on_frame(0, 0, frame)
    received = socket.receive()
    assert received is not None and received.data == b"all"


def test_no_route() -> None:
    stack = host()
    with pytest.raises(SocketError, match=r"ENETUNREACH.*no route to 10\.9\.9\.9"):
        send(stack, 0, b"", "10.9.9.9")
    with pytest.raises(SocketError, match="ENETUNREACH"):
        stack.tcp.open(0, ip("10.9.9.9"), 80)
    assert stack.counters.IpOutNoRoutes == 2


def test_interfaces_and_routes_are_checked() -> None:
    stack = host()
    with pytest.raises(AlreadyExists, match="eth0"):
        stack.add_interface("eth0", mac(5), ip("10.0.5.1"), 24)
    with pytest.raises(AlreadyExists, match=r"10\.0\.0\.1"):
        stack.add_interface("eth1", mac(5), ip("10.0.0.1"), 24)
    with pytest.raises(InvalidArgument, match="prefix length is 0 to 32, not 33"):
        stack.add_interface("eth1", mac(5), ip("10.0.5.1"), 33)
    with pytest.raises(InvalidArgument, match="MAC"):
        stack.add_interface("eth1", b"\x01" + bytes(5), ip("10.0.5.1"), 24)
    with pytest.raises(InvalidArgument, match="MTU is 68 to 65535 bytes, not 67"):
        stack.add_interface("eth1", mac(5), ip("10.0.5.1"), 24, 67)
    with pytest.raises(InvalidArgument, match=r"gateway 10\.7\.0\.1 is on none of its networks"):
        stack.add_route(bytes(4), 0, ip("10.7.0.1"))
    assert len(stack.interfaces) == 1 and len(stack.routes.routes) == 1


def test_longest_prefix_then_lowest_metric_wins() -> None:
    stack = host()
    stack.add_interface("eth1", mac(2), ip("10.1.0.1"), 16)
    stack.add_interface("eth2", mac(3), ip("10.1.2.1"), 24)
    stack.add_route(bytes(4), 0, ip("10.0.0.254"), metric=5)
    stack.add_route(bytes(4), 0, ip("10.1.0.254"), metric=4)
    chosen = {to: stack.routes.lookup(ip(to)) for to in ("10.1.2.9", "10.1.3.9", "10.0.0.9", "8.8.8.8")}
    assert {to: route.interface.name for to, route in chosen.items() if route is not None} == {
        "10.1.2.9": "eth2",
        "10.1.3.9": "eth1",
        "10.0.0.9": "eth0",
        "8.8.8.8": "eth1",
    }
    assert stack.remove_route(bytes(4), 0) and not stack.remove_route(bytes(4), 0)
    assert stack.routes.lookup(ip("8.8.8.8")) is None


def test_mtu_to() -> None:
    stack = host()
    assert stack.mtu_to(0, ip("10.0.0.9")) == 1500
    assert stack.mtu_to(0, ip("10.0.0.1")) == ipv4.MAX_LEN  # loopback
