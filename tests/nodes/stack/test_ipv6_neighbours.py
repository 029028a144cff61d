"""Neighbour discovery (RFC 4861), seen on the wire."""

from __future__ import annotations

import struct

import pytest

from nodes.base.clock import SECOND
from nodes.base.errors import SocketError
from nodes.packet import icmp6
from nodes.packet.icmp import IcmpMessage
from nodes.packet.icmp6 import decode_icmp6, encode_icmp6
from nodes.packet.ipv6 import Ipv6Packet, decode_ipv6
from tests.nodes.net import ip, mac, pair6, routed6
from tests.nodes.stack.ipv6_router import OURS, OURS_LOCAL, SRC, frame, router, solicit


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
