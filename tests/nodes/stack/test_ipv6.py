"""IPv6, neighbour discovery and ICMPv6, seen on the wire."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.agent.payload import Payload
from nodes.agent.stack_host import StackHost
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import AlreadyExists, InvalidArgument, SocketError
from nodes.base.events import EventSink
from nodes.base.random import Randomness
from nodes.packet import icmp6, ipv6
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import decode_icmp6, encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6, encode_ipv6
from nodes.packet.tcp import SYN, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.packet.udp import Datagram, encode_udp
from nodes.stack import Stack
from nodes.tcp.parameters import Parameters
from tests.nodes.net import Net, ip, mac, pair6, routed6

SRC = ip("fd00::1")
DST = ip("fd00:0:0:1::2")
OURS = ip("fd00::fe")
OURS_LOCAL = ip("fe80::ff:fe00:a")  # from 02:00:00:00:00:0a: the bit of 02 inverted, ff:fe in the middle


def router(mtu: int = 1500, forward: bool = True) -> Stack:
    """fd00::fe (eth0) and fd00:0:0:1::fe (eth1, `mtu`), with both neighbours in its cache."""
    parameters = Parameters()
    parameters.set("ip_forward", int(forward))
    stack = Stack("r1", parameters, Randomness(1), EventSink())
    for number, (address, size) in enumerate((("fd00::fe", 1500), ("fd00:0:0:1::fe", mtu))):
        interface = stack.add_interface(f"eth{number}", mac(10 + number), mtu=size)
        stack.add_ipv6(interface, ip(address), 64)
    for index, (far, who, ours) in enumerate(((mac(1), SRC, OURS), (mac(2), DST, ip("fd00:0:0:1::fe")))):
        message = IcmpMessage(135, 0, 0, ours + b"\x01\x01" + far)
        stack.on_frame(0, index, solicit(far, who, message))
    stack.pull()
    return stack


def solicit(far: bytes, who: bytes, message: IcmpMessage, hop_limit: int = 255, dst: bytes = b"") -> bytes:
    group = dst or ip("ff02::1:ff00:0")[:13] + message.payload[13:16]
    packet = Ipv6Packet(who, group, 58, encode_icmp6(message, who, group), hop_limit)
    return b"\x33\x33" + group[12:] + far + b"\x86\xdd" + encode_ipv6(packet)


def frame(packet: Ipv6Packet, to: bytes = mac(10)) -> bytes:
    return to + mac(1) + b"\x86\xdd" + encode_ipv6(packet)


def icmp_error(stack: Stack) -> tuple[int, Ipv6Packet, IcmpMessage]:
    ((index, sent),) = stack.pull()
    packet = decode_ipv6(sent[14:])
    return index, packet, decode_icmp6(packet.payload, packet.src, packet.dst)


def udp(src: bytes, dst: bytes, data: bytes, port: int = 9) -> bytes:
    return encode_udp(Datagram(1, port, data), src, dst)


# Neighbour discovery, RFC 4861.


def test_a_ping_from_the_first_question_on() -> None:
    """Every byte of the exchange, as RFC 4861 sections 4.3 and 4.4 and RFC 4443 section 4.1 draw it."""
    net = pair6()
    ((result,),) = net.run(net.hosts["h1"].ping(ip("fd00::2"), size=2))
    assert (result.error, result.ttl, result.address, result.size) == ("", 64, ip("fd00::2"), 2)
    assert result.rtt_ns == 4_000_000  # question, answer, request, reply: 1 ms each
    question, request = net.sent_by("h1:0")
    group = bytes.fromhex("ff0200000000000000000001ff000002")
    assert question[:14] == bytes.fromhex("3333ff000002") + mac(1) + b"\x86\xdd"
    assert question[14:54] == struct.pack("!IHBB", 0x60000000, 32, 58, 255) + ip("fd00::1") + group
    assert question[54:56] == b"\x87\x00"
    assert question[58:] == bytes(4) + ip("fd00::2") + b"\x01\x01" + mac(1)
    answer, reply = net.sent_by("h2:0")
    assert answer[:14] == mac(1) + mac(2) + b"\x86\xdd"
    assert answer[14:54] == struct.pack("!IHBB", 0x60000000, 32, 58, 255) + ip("fd00::2") + ip("fd00::1")
    assert answer[54:56] == b"\x88\x00"
    assert answer[58:] == bytes.fromhex("60000000") + ip("fd00::2") + b"\x02\x01" + mac(2)  # solicited, override
    assert request[14:22] == struct.pack("!IHBB", 0x60000000, 10, 58, 64)
    assert request[54:56] == b"\x80\x00" and request[58:] == b"\x00\x01\x00\x01\x00\x01"
    assert reply[54:56] == b"\x81\x00" and reply[58:] == request[58:]
    for each in (question, answer, request, reply):  # checksums, by hand: RFC 8200 section 8.1
        words = each[22:54] + struct.pack("!II", len(each) - 54, 58) + each[54:]
        words += bytes(len(words) % 2)
        assert sum(struct.unpack(f"!{len(words) // 2}H", words)) % 0xFFFF == 0


def test_the_question_is_asked_three_times_then_the_sender_is_told() -> None:
    net = pair6()
    with pytest.raises(SocketError) as failed:
        net.run(net.hosts["h1"].open(ip("fd00::77"), 80))
    assert failed.value.errno_name == "EHOSTUNREACH"
    times = [time for time, sender, sent in net.captured if sender == "h1:0"]
    assert times == [0, SECOND, 2 * SECOND] and net.scheduler.now() == 3 * SECOND
    counters = net.hosts["h1"].counters()
    assert (counters["Icmp6OutNeighborSolicits"], counters["Ip6OutDiscards"]) == (3, 3)  # the SYN of each second


def test_a_router_says_whose_neighbour_is_missing() -> None:
    net = routed6()
    ((result,),) = net.run(net.hosts["h1"].ping(ip("fd00:0:0:2::77"), timeout_ns=10 * SECOND))
    assert (result.address, result.error) == (ip("fd00:0:0:1::2"), "host unreachable")


def test_old_entries_are_confirmed_by_unicast() -> None:
    net = pair6()
    h1 = net.hosts["h1"]
    net.run(h1.ping(ip("fd00::2")))
    net.settle(40 * SECOND)
    net.captured.clear()
    ((result,),) = net.run(h1.ping(ip("fd00::2")))
    assert result.rtt_ns == 2_000_000  # it did not wait for the answer
    question = net.sent_by("h1:0")[0]
    assert question[:6] == mac(2) and question[38:54] == ip("fd00::2") and question[54] == 135


@pytest.mark.parametrize(
    "change",
    [
        {"hop_limit": 254},  # forwarded
        {"message": IcmpMessage(135, 1, 0, OURS + b"\x01\x01" + mac(1))},  # code
        {"message": IcmpMessage(135, 0, 0, OURS[:15])},  # short
        {"message": IcmpMessage(135, 0, 0, OURS + b"\x01\x00" + mac(1))},  # option of length 0
        {"who": bytes(16)},  # from nobody, yet with its MAC address
    ],
)
def test_invalid_solicitations_are_ignored(change: dict[str, object]) -> None:
    """RFC 4861 section 7.1.1."""
    stack = router()
    arguments = {"far": mac(5), "who": ip("fd00::5"), "message": IcmpMessage(135, 0, 0, OURS + b"\x01\x01" + mac(5))}
    arguments["dst"] = ip("ff02::1:ff00:fe")
    stack.on_frame(1, 0, solicit(**{**arguments, **change}))  # type: ignore[arg-type]
    assert stack.pull() == []
    assert stack.counters.Icmp6InErrors == 1
    stack.on_frame(1, 0, solicit(**arguments))  # type: ignore[arg-type]
    assert len(stack.pull()) == 1


def test_who_tests_an_address_hears_that_it_is_taken() -> None:
    """RFC 4862 section 5.4: a solicitation from the unspecified address is answered to all."""
    stack = router()
    stack.on_frame(1, 0, solicit(mac(5), bytes(16), IcmpMessage(135, 0, 0, OURS)))
    ((_, sent),) = stack.pull()
    packet = decode_ipv6(sent[14:])
    assert sent[:6] == bytes.fromhex("333300000001") and packet.dst == ip("ff02::1")
    assert decode_icmp6(packet.payload, packet.src, packet.dst).rest == 0xA000_0000  # router, override, not solicited


def test_link_local_address_answers_on_its_own_link_only() -> None:
    stack = router()
    local = ip("fe80::ff:fe00:1")
    stack.on_frame(1, 0, solicit(mac(1), local, IcmpMessage(135, 0, 0, OURS_LOCAL + b"\x01\x01" + mac(1))))
    ((index, sent),) = stack.pull()
    assert (index, sent[22:38], sent[38:54]) == (0, OURS_LOCAL, local)
    stack.on_frame(1, 1, solicit(mac(1), local, IcmpMessage(135, 0, 0, OURS_LOCAL + b"\x01\x01" + mac(1))))
    assert stack.pull() == []


def test_a_new_mac_address_is_taken_only_when_it_overrides() -> None:
    """RFC 4861 section 7.2.5."""
    stack = router()

    def mac_towards_source() -> bytes:
        stack.send_ip(1, OURS, SRC, 253, b"")
        ((_, sent),) = stack.pull()
        return sent[:6]

    def advertise(flags: int) -> None:
        message = IcmpMessage(136, 0, flags, SRC + b"\x02\x01" + mac(7))
        packet = Ipv6Packet(SRC, OURS, 58, encode_icmp6(message, SRC, OURS), 255)
        stack.on_frame(1, 0, frame(packet))

    advertise(icmp6.SOLICITED)
    assert mac_towards_source() == mac(1)
    advertise(icmp6.SOLICITED | icmp6.OVERRIDE)
    assert mac_towards_source() == mac(7)


# Forwarding and errors, RFC 8200 and RFC 4443.


@given(st.integers(2, 255), st.integers(0, 255), st.integers(0, 0xFFFFF))
def test_forwarding_changes_hop_limit_and_macs_only(hop_limit: int, traffic_class: int, label: int) -> None:
    stack = router()
    packet = Ipv6Packet(SRC, DST, 253, b"payload", hop_limit, traffic_class, label)
    stack.on_frame(1, 0, frame(packet) + b"padding")
    packet.hop_limit -= 1
    assert stack.pull() == [(1, mac(2) + mac(11) + b"\x86\xdd" + encode_ipv6(packet))]


@pytest.mark.parametrize("hop_limit", [0, 1])
def test_hop_limit_that_runs_out(hop_limit: int) -> None:
    stack = router()
    sent = frame(Ipv6Packet(SRC, DST, 17, b"0123456789", hop_limit))
    stack.on_frame(1, 0, sent)
    index, packet, message = icmp_error(stack)
    assert (index, packet.src, packet.dst, packet.hop_limit) == (0, OURS, SRC, 64)
    assert (message.type, message.code, message.payload) == (3, 0, sent[14:])


def test_no_route_and_the_limit_of_1280_bytes() -> None:
    stack = router()
    sent = frame(Ipv6Packet(SRC, ip("2001:db8::9"), 17, bytes(1400)))
    stack.on_frame(1, 0, sent)
    _, packet, message = icmp_error(stack)
    assert (message.type, message.code) == (1, 0)
    assert len(encode_ipv6(packet)) == 1280 and sent[14:].startswith(message.payload)


def test_too_large_is_never_fragmented_on_the_way() -> None:
    stack = router(mtu=1300)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, bytes(1260))))
    assert len(stack.pull()) == 1
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, bytes(1261))))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code, message.rest) == (2, 0, 1300)


@pytest.mark.parametrize(
    ("src", "dst"),
    [
        ("fe80::1", "fd00:0:0:1::2"),
        ("fd00::1", "fe80::2"),
        ("fd00::1", "ff05::2"),
        ("::", "fd00:0:0:1::2"),
        ("::1", "fd00:0:0:1::2"),
        ("fd00::1", "::1"),
        ("ff02::1", "fd00:0:0:1::2"),
        ("fd00::fe", "fd00:0:0:1::2"),
    ],
)
def test_what_no_router_passes_on(src: str, dst: str) -> None:
    stack = router()
    stack.on_frame(1, 0, frame(Ipv6Packet(ip(src), ip(dst), 17, b"0123456789")))
    assert stack.pull() == []
    assert stack.counters.Ip6InAddrErrors == 1


def test_a_host_passes_nothing_on() -> None:
    stack = router(forward=False)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 17, b"0123456789")))
    assert stack.pull() == []


def test_errors_to_one_host_are_limited_to_six_and_then_one_a_second() -> None:
    """RFC 4443 section 2.4 f."""
    stack = router()
    other = ip("fd00::3")
    stack.on_frame(0, 0, solicit(mac(3), other, IcmpMessage(135, 0, 0, OURS + b"\x01\x01" + mac(3))))
    stack.pull()

    def errors(now: int, src: bytes) -> int:
        stack.on_frame(now, 0, frame(Ipv6Packet(src, DST, 17, b"0123456789", 1)))
        return len(stack.pull())

    assert [errors(SECOND, SRC) for _ in range(8)] == [1] * 6 + [0, 0]
    assert errors(SECOND, other) == 1
    assert [errors(2 * SECOND, SRC) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 137])
def test_no_error_about_an_error(kind: int) -> None:
    stack = router()
    payload = encode_icmp6(IcmpMessage(kind, 0, 0, b"01234567"), SRC, DST)
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 58, payload, 1)))
    assert stack.pull() == []


def option(kind: int) -> bytes:
    """Destination options with one of a kind, in front of UDP."""
    return bytes((17, 0, kind, 4, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("header", "payload", "expected"),
    [
        (253, b"01234567", (4, 1, 6)),  # unknown next header, told by the field at 6
        (60, bytes((253, 0, 1, 4, 0, 0, 0, 0)), (4, 1, 40)),
        (60, option(0x3E) + udp(SRC, OURS, b"x"), (1, 4, 0)),  # skipped; then nobody has the port
        (60, option(0x7E) + udp(SRC, OURS, b"x"), None),
        (60, option(0xBE) + udp(SRC, OURS, b"x"), (4, 2, 42)),
        (60, option(0xFE) + udp(SRC, OURS, b"x"), (4, 2, 42)),
        (60, bytes((17, 0, 1, 5, 0, 0, 0, 0)), (4, 0, 42)),  # an option longer than its header
        (43, bytes((17, 2, 0, 1)) + bytes(20) + udp(SRC, OURS, b"x"), (4, 0, 42)),  # RFC 5095
        (43, bytes((17, 0, 0, 0)) + bytes(4) + udp(SRC, OURS, b"x"), (1, 4, 0)),
        (59, b"anything", None),
        (60, b"\x11\x01" + bytes(6), None),  # cut off
    ],
)
def test_extension_headers(header: int, payload: bytes, expected: tuple[int, int, int] | None) -> None:
    """RFC 8200 sections 4.1 to 4.7."""
    stack = router()
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, OURS, header, payload)))
    if expected is None:
        assert stack.pull() == []
    else:
        _, _, message = icmp_error(stack)
        assert (message.type, message.code, message.rest) == expected


def test_tcp_behind_extension_headers() -> None:
    stack = router()
    stack.tcp.listen(0, b"", 80, 1)
    segment = Segment(5000, 80, 1, 0, SYN, 1000, b"")
    stack.on_frame(
        1, 0, frame(Ipv6Packet(SRC, OURS, 0, bytes((6, 0, 5, 2, 0, 0, 1, 0)) + encode_tcp(segment, SRC, OURS)))
    )
    ((_, sent),) = stack.pull()
    assert decode_tcp(sent[54:]).ack == 2


def test_a_wrong_checksum_of_tcp_is_counted() -> None:
    stack = router()
    wire = bytearray(encode_tcp(Segment(5000, 80, 1, 0, SYN, 1000, b""), SRC, OURS))
    wire[16] ^= 1
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, OURS, 6, bytes(wire))))
    assert stack.pull() == [] and stack.counters.TcpInCsumErrors == 1


# Fragments, RFC 8200 section 4.5.


def fragments(data: bytes, cuts: list[tuple[int, int, bool]], identification: int = 7) -> list[Ipv6Packet]:
    return [
        Ipv6Packet(SRC, OURS, 44, struct.pack("!BBHI", 17, 0, start | more, identification) + data[start:end])
        for start, end, more in cuts
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 0)])
def test_fragments_in_any_order(order: tuple[int, ...]) -> None:
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(range(100)))
    pieces = fragments(data, [(0, 48, True), (48, 96, True), (96, len(data), False)])
    for index in order:
        stack.on_frame(1, 0, frame(pieces[index]))
    received = socket.receive()
    assert received is not None and (received.data, received.address) == (bytes(range(100)), SRC)
    assert stack.pull() == []


def test_overlapping_fragments_discard_the_packet() -> None:
    """RFC 5722."""
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(100))
    for piece in fragments(data, [(0, 48, True), (40, 96, True), (96, len(data), False)]):
        stack.on_frame(1, 0, frame(piece))
    assert socket.receive() is None and stack.counters.Ip6ReasmFails == 1


def test_a_fragment_that_is_the_whole_packet() -> None:
    """RFC 6946: it has nothing to do with others of the same identification."""
    stack = router()
    socket = stack.udp.bind(b"", 9)
    data = udp(SRC, OURS, bytes(100))
    stack.on_frame(1, 0, frame(fragments(data, [(0, 48, True)])[0]))
    stack.on_frame(1, 0, frame(fragments(data, [(0, len(data), False)])[0]))
    received = socket.receive()
    assert received is not None and received.data == bytes(100)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [((0, 47, True), (4, 0, 4)), ((65528, 65540, False), (4, 0, 42)), ((0, 4, False), (4, 3, 0))],
)
def test_fragments_that_their_sender_is_told_of(cut: tuple[int, int, bool], expected: tuple[int, int, int]) -> None:
    stack = router()
    stack.on_frame(1, 0, frame(fragments(udp(SRC, OURS, bytes(65527)) + bytes(20), [cut])[0]))
    _, _, message = icmp_error(stack)
    assert (message.type, message.code, message.rest) == expected


def test_missing_fragments_are_reported_after_60_s() -> None:
    stack = router()
    piece = fragments(udp(SRC, OURS, bytes(100)), [(0, 48, True)])[0]
    stack.on_frame(1, 0, frame(piece))
    assert stack.next_deadline() == 1 + 60 * SECOND
    stack.on_timer(1 + 60 * SECOND)
    # the neighbour is asked once more, since it was not heard of for so long
    error = decode_ipv6(stack.pull()[-1][1][14:])
    message = decode_icmp6(error.payload, error.src, error.dst)
    assert (message.type, message.code, message.payload) == (3, 1, encode_ipv6(piece))
    assert stack.reassembly.deadline == NEVER


def test_large_pings_and_datagrams_go_in_fragments() -> None:
    net = routed6()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    ((result,),) = net.run(h1.ping(ip("fd00:0:0:2::2"), size=5000))
    assert (result.error, result.size) == ("", 5000)
    first = [sent for sent in net.sent_by("h1:0") if sent[20] == 44]
    assert [len(sent) - 14 for sent in first] == [1496, 1496, 1496, 40 + 8 + 5008 - 3 * 1448]
    assert {sent[54] for sent in first} == {58}
    assert h2.counters()["Ip6ReasmOKs"] == 1 and h1.counters()["Ip6FragCreates"] == 4


# TCP and UDP over it.


def transfer(net: Net, size: int, server: bytes) -> tuple[StackHost, int, StackHost, int]:
    """`size` bytes from h1 to port 80 of h2; the connections stay."""
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    listener = h2.listen(80)
    payload = Payload(bytes(range(251)), size)
    accepted, opened = net.run(h2.accept(listener), h1.open(server, 80))
    h2.close_listener(listener)
    _, received = net.run(
        h1.send(opened, payload), h2.receive(accepted, max_bytes=size, min_bytes=size, timeout_ns=60 * SECOND)
    )
    assert (received.length, received.sha256) == (size, payload.sha256())
    return h1, opened, h2, accepted


def tcp_payloads(net: Net, end: str) -> list[int]:
    return [
        len(decode_tcp(sent[54:]).payload) for sent in net.sent_by(end) if sent[12:14] == b"\x86\xdd" and sent[20] == 6
    ]


def test_tcp() -> None:
    net = pair6()
    h1, opened, h2, accepted = transfer(net, 100_000, ip("fd00::2"))
    status = h1.status(opened)
    assert (status.local_address, status.remote_address) == (ip("fd00::1"), ip("fd00::2"))
    assert (status.snd_mss, status.advmss, status.pmtu) == (1428, 1440, 1500)  # 1500 - 40 - 20, and 12 of timestamps
    assert h2.status(accepted).remote_address == ip("fd00::1")
    assert max(tcp_payloads(net, "h1:0")) == 1428
    assert h1.counters()["Ip6OutRequests"] > 70 and h1.counters()["IpOutRequests"] == 0


def test_a_listener_of_any_address_takes_both_families_and_one_of_an_address_its_own() -> None:
    net = pair6()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    h2.listen(80)
    net.run(h1.open(ip("10.0.0.2"), 80), h1.open(ip("fd00::2"), 80))
    h2.listen(81, ip("10.0.0.2"))
    with pytest.raises(SocketError) as refused:
        net.run(h1.open(ip("fd00::2"), 81))
    assert refused.value.errno_name == "ECONNREFUSED"


def test_over_the_loopback() -> None:
    net = pair6()
    h1 = net.hosts["h1"]
    listener = h1.listen(80)
    opened, accepted = net.run(h1.open(ip("::1"), 80), h1.accept(listener))
    assert h1.status(opened).local_address == ip("::1") == h1.status(accepted).local_address
    ((one,), (own,)) = net.run(h1.ping(ip("::1")), h1.ping(ip("fd00::1")))
    assert (one.error, own.error) == ("", "")
    assert net.captured == []


def test_families_do_not_mix() -> None:
    h1 = pair6().hosts["h1"]
    with pytest.raises(InvalidArgument, match="two families"):
        h1.start_open(ip("fd00::2"), 80, ip("10.0.0.1"))
    socket = h1.stack.udp.bind(ip("10.0.0.1"), 9)
    with pytest.raises(SocketError) as refused:
        socket.send_to(0, b"x", ip("fd00::2"), 9)
    assert refused.value.errno_name == "EAFNOSUPPORT"


def test_udp_and_a_port_nobody_has() -> None:
    net = pair6()
    here, there = net.hosts["h1"].stack.udp, net.hosts["h2"].stack.udp
    socket, other = here.bind(), there.bind(b"", 9)
    socket.connect(ip("fd00::2"), 9)
    assert socket.local == ip("fd00::1")
    socket.send_to(0, b"hello")
    net.hosts["h1"].driver.flush()
    net.settle(SECOND)
    received = other.receive()
    assert received is not None and (received.data, received.address, received.port) == (
        b"hello",
        ip("fd00::1"),
        socket.port,
    )
    socket.connect(ip("fd00::2"), 10)
    socket.send_to(SECOND, b"hello")
    net.hosts["h1"].driver.flush()
    net.settle(SECOND)
    assert socket.error == "ECONNREFUSED"
    assert net.hosts["h2"].counters()["Udp6NoPorts"] == 1


def test_udp_without_a_checksum_is_refused() -> None:
    """RFC 8200 section 8.1."""
    stack = router()
    socket = stack.udp.bind(b"", 9)
    wire = udp(SRC, OURS, b"x")
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, OURS, 17, wire[:6] + b"\0\0" + wire[8:])))
    assert socket.receive() is None and stack.counters.Udp6InCsumErrors == 1


# Path MTU discovery, RFC 8201 and RFC 1191.


@pytest.mark.parametrize(("server", "headers"), [("fd00:0:0:2::2", 60), ("10.0.2.2", 40)])
def test_path_mtu_is_found_kept_and_forgotten(server: str, headers: int) -> None:
    net = routed6(mtu=1300)
    h1, opened, _, _ = transfer(net, 200_000, ip(server))
    status = h1.status(opened)
    assert (status.pmtu, status.snd_mss) == (1300, 1300 - headers - 12)
    assert status.advmss == 1500 - headers  # what we can receive has not changed
    router = net.hosts["r1"].counters()
    assert router["Icmp6OutPktTooBigs" if headers == 60 else "IcmpOutDestUnreachs"] >= 1

    # the next connection knows it from the first segment on
    before = dict(router)
    h1, opened, _, _ = transfer(net, 200_000, ip(server))
    assert dict(net.hosts["r1"].counters())["Icmp6OutPktTooBigs"] == before["Icmp6OutPktTooBigs"]
    assert dict(net.hosts["r1"].counters())["IcmpOutDestUnreachs"] == before["IcmpOutDestUnreachs"]
    assert (h1.status(opened).pmtu, h1.status(opened).advmss) == (1300, 1500 - headers)

    net.settle(600 * SECOND)
    opened = h1.start_open(ip(server), 80)
    assert h1.status(opened).pmtu == 1500


@pytest.mark.parametrize(("server", "headers"), [("fd00:0:0:2::2", 60), ("10.0.2.2", 40)])
def test_a_router_that_says_nothing_is_found_out_by_probes(server: str, headers: int) -> None:
    """RFC 4821; section 7.7: packets of IPv6 stay as large as every link of it takes."""
    net = routed6(mtu=1300)
    net.hosts["r1"].stack.parameters.set("icmp_errors", 0)
    knobs = net.hosts["h1"].stack.parameters
    knobs.set("tcp_mtu_probing", 2)
    h1, opened, _, _ = transfer(net, 1_500_000, ip(server))
    status = h1.status(opened)
    assert 1300 - 8 < status.snd_mss + headers + 12 <= 1300 and status.pmtu == 1500
    router = net.hosts["r1"].counters()
    assert router["Icmp6OutPktTooBigs"] == router["IcmpOutDestUnreachs"] == 0
    knobs.set("tcp_base_mss", 500)
    least = 1280 if headers == 60 else 500 + headers + 12
    h1, opened, _, _ = transfer(net, 1, ip(server))
    assert h1.status(opened).snd_mss + headers + 12 == least


@pytest.mark.parametrize("server", ["fd00::2", "10.0.0.2"])
def test_the_largest_segments_that_a_knob_can_ask_for_are_packets(server: str) -> None:
    """tcp_min_snd_mss: whatever the path; an IP packet has 65535 bytes."""
    net = pair6()
    knobs = net.hosts["h1"].stack.parameters
    with pytest.raises(InvalidArgument, match="tcp_min_snd_mss"):
        knobs.set("tcp_min_snd_mss", 65_496)
    knobs.set("tcp_min_snd_mss", 65_495)
    h1, opened, _, _ = transfer(net, 300_000, ip(server))
    assert h1.status(opened).snd_mss == 65_495 - 12


def test_udp_is_fragmented_to_the_path_mtu() -> None:
    net = routed6(mtu=1300)
    there = net.hosts["h2"].stack.udp.bind(b"", 9)
    socket = net.hosts["h1"].stack.udp.bind()
    for _ in range(2):
        socket.send_to(net.scheduler.now(), bytes(1400), ip("fd00:0:0:2::2"), 9)
        net.hosts["h1"].driver.flush()
        net.settle(SECOND)
    received = there.receive()
    assert received is not None and len(received.data) == 1400
    assert there.receive() is None  # the first one was lost for its size
    assert net.hosts["h1"].counters()["Ip6FragCreates"] == 2


def test_forged_packet_too_big_is_not_believed() -> None:
    """RFC 5927 section 4.1: it must quote a segment in flight."""
    net = pair6()
    h1, opened, _, _ = transfer(net, 1000, ip("fd00::2"))
    status = h1.status(opened)
    quoted = Segment(status.local_port, 80, (12345 + (1 << 31)) & 0xFFFFFFFF, 0, 16, 0, b"")
    packet = encode_ipv6(Ipv6Packet(ip("fd00::1"), ip("fd00::2"), 6, encode_tcp(quoted, ip("fd00::1"), ip("fd00::2"))))
    forged = encode_icmp6(IcmpMessage(2, 0, 1280, packet), ip("fd00::2"), ip("fd00::1"))
    h1.receive_frame(
        0, mac(1) + mac(2) + b"\x86\xdd" + encode_ipv6(Ipv6Packet(ip("fd00::2"), ip("fd00::1"), 58, forged))
    )
    assert h1.status(opened).pmtu == 1500
    assert h1.counters()["Icmp6InPktTooBigs"] == 1
    assert h1.stack.mtu_to(net.scheduler.now(), ip("fd00::2")) == 1500


# ICMPv6 errors and sockets.


@pytest.mark.parametrize(
    ("kind", "code", "errno_name"),
    [
        (1, 0, "ENETUNREACH"),
        (1, 1, "EACCES"),
        (1, 3, "EHOSTUNREACH"),
        (1, 4, "ECONNREFUSED"),
        (1, 5, "EACCES"),
        (1, 6, "EACCES"),
        (3, 0, "EHOSTUNREACH"),
        (4, 1, "EPROTO"),
    ],
)
def test_errors_of_an_opening_connection(kind: int, code: int, errno_name: str) -> None:
    """As Linux maps them (icmpv6_err_convert), where a SYN's soft errors count too."""
    net = pair6()
    net.run(net.hosts["h1"].ping(ip("fd00::2")))
    net.cut.add("h1:0")
    h1 = net.hosts["h1"]
    opened = h1.start_open(ip("fd00::2"), 80)
    sent = net.sent_by("h1:0")[-1][14:]
    error = encode_icmp6(IcmpMessage(kind, code, 0, sent), ip("fd00::2"), ip("fd00::1"))
    h1.receive_frame(
        0, mac(1) + mac(2) + b"\x86\xdd" + encode_ipv6(Ipv6Packet(ip("fd00::2"), ip("fd00::1"), 58, error))
    )
    assert (h1.status(opened).state_name, h1.status(opened).error) == ("CLOSED", errno_name)


# Configuration.


@pytest.mark.parametrize(
    ("address", "length", "field"),
    [
        ("fe80::1", 64, "address"),
        ("ff02::1", 64, "address"),
        ("::", 64, "address"),
        ("10.0.0.9", 24, "address"),
        ("fd00::9", 129, "prefix_len"),
        ("fd00::9", 0, "prefix_len"),
    ],
)
def test_addresses_that_no_host_has(address: str, length: int, field: str) -> None:
    stack = router()
    with pytest.raises(InvalidArgument) as wrong:
        stack.add_ipv6(stack.interfaces[0], ip(address), length)
    assert wrong.value.field == field


def test_an_address_twice_and_a_link_too_small() -> None:
    stack = router()
    with pytest.raises(AlreadyExists):
        stack.add_ipv6(stack.interfaces[1], OURS, 64)
    small = stack.add_interface("eth2", mac(12), mtu=1279)
    with pytest.raises(InvalidArgument, match="1280, not 1279"):
        stack.add_ipv6(small, ip("fd00:0:0:2::1"), 64)
    assert ipv6.is_link_local(stack.interfaces[0].ipv6[0][0])


@pytest.mark.parametrize(("server", "at"), [("10.0.0.2", 22), ("fd00::2", 21)])
def test_hop_limit_of_a_socket_and_of_the_host(server: str, at: int) -> None:
    net = pair6()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    h2.stack.parameters.set_all({"ip_default_ttl": 100, "hop_limit": 101})
    h2.listen(80)
    opened = h1.start_open(ip(server), 80, options={"IP_TTL": 5})
    net.run(h1.established(opened))

    def seen(end: str) -> set[int]:
        tcp = [sent for sent in net.sent_by(end) if (sent[23] if at == 22 else sent[20]) == 6]
        return {sent[at] for sent in tcp}

    assert seen("h1:0") == {5}
    assert seen("h2:0") == ({100} if at == 22 else {101})
    h1.set_option(opened, "IP_TTL", 0)
    net.captured.clear()
    net.run(h1.send(opened, Payload(b"x", 1)))
    assert seen("h1:0") == {64}
    h1.set_option(opened, "IP_TTL", 9)
    net.captured.clear()
    h1.abort(opened)
    assert seen("h1:0") == {9}


@pytest.mark.parametrize(("field", "name"), list(enumerate(("InNoECTPkts", "InECT1Pkts", "InECT0Pkts", "InCEPkts"))))
def test_packets_are_counted_by_their_ecn_field(field: int, name: str) -> None:
    """RFC 3168 section 5, for traffic classes (section 22.1)."""
    stack = router()
    before = stack.counters.as_dict()
    stack.on_frame(1, 0, frame(Ipv6Packet(SRC, DST, 253, b"payload", traffic_class=0xA8 | field)))
    after = stack.counters.as_dict()
    counted = {one for one in after if after[one] != before[one] and ("ECT" in one or "CEPkts" in one)}
    assert counted == {f"Ip6{name}"}
