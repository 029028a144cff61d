"""TCP and UDP over IPv6: ports and families, path MTU (RFC 8201), ICMPv6 errors."""

from __future__ import annotations

import pytest

from nodes.agent.payload import Payload
from nodes.agent.stack_host import StackHost
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, encode_ipv6
from nodes.packet.tcp import Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from tests.nodes.net import Net, ip, mac, pair6, routed6
from tests.nodes.stack.ipv6_router import OURS, SRC, frame, router, udp


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


@pytest.mark.rfc("9293", "MUST-48", "SHLD-21", "SHLD-22")
@pytest.mark.parametrize(("server", "option"), [("10.0.0.2", "IP_TOS"), ("fd00::2", "IPV6_TCLASS")])
def test_the_diffserv_field_is_the_users_and_the_ecn_field_is_not(server: str, option: str) -> None:
    """RFC 9293 section 3.9.1.9. A listener's is that of its connections; RFC 3168 rules what is ECN-capable."""
    net = pair6()
    h1, h2 = net.hosts["h1"], net.hosts["h2"]
    h1.stack.parameters.set_all({"tcp_ecn": 1})
    h2.listen(80, options={option: 0x28})
    opened = h1.start_open(ip(server), 80, options={option: 0xB8 | 3, "TCP_NODELAY": 1})
    net.run(h1.established(opened))

    def seen(end: str) -> set[int]:
        """Type of Service (RFC 791), or traffic class (RFC 8200), of all but ARP and neighbour discovery."""
        six = len(ip(server)) == 16
        tcp = [sent for sent in net.sent_by(end) if sent[20 if six else 23] == 6]
        return {sent[14] << 4 & 0xF0 | sent[15] >> 4 if six else sent[15] for sent in tcp}

    assert seen("h1:0") == {0xB8}
    assert seen("h2:0") == {0x28}
    net.captured.clear()
    net.run(h1.send(opened, Payload(b"x", 1)))
    assert seen("h1:0") == {0xB8 | 2}  # ECT(0)
    h1.set_option(opened, option, 0x20)
    assert h1.get_option(opened, option) == 0x20
    net.captured.clear()
    net.run(h1.send(opened, Payload(b"x", 1)))
    h1.abort(opened)
    assert seen("h1:0") == {0x20 | 2, 0x20}


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
