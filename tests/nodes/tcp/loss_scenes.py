"""A connection whose peer tells, by SACK, what was lost."""

from __future__ import annotations

from typing import Any

from nodes.base.clock import MILLISECOND
from nodes.packet.tcp import ACK, SYN
from nodes.tcp.connection import Connection

from .harness import HTTP, PEER, Host, Peer

MSS = 1460


def opened(host: Host, round_trip: int = 100 * MILLISECOND, **options: Any) -> tuple[Connection, Peer]:
    """An active OPEN whose SYN-ACK comes after a round trip, from a peer that permits SACK unless told otherwise."""
    host.parameters.set("tcp_timestamps", 0)
    c = host.tcp.open(host.now, PEER, HTTP)
    peer = Peer(host, HTTP, c.local_port)
    peer.irs = host.take()[0].seq
    host.after(round_trip)
    peer.send(SYN | ACK, 0, 1, **{"mss": MSS, "sack_permitted": True, **options})
    return c, peer


def sacked(peer: Peer, ack: int, *blocks: tuple[int, int]) -> list[str]:
    """An ACK that tells of segments [first, last], counted from 0."""
    raw = tuple((peer.irs + 1 + first * MSS, peer.irs + 1 + (last + 1) * MSS) for first, last in blocks)
    return peer.send(
        ACK, 1, 1 + ack * MSS, sack=tuple((left & 0xFFFF_FFFF, right & 0xFFFF_FFFF) for left, right in raw)
    )


def resent(peer: Peer, ordinal: int) -> str:
    """How the segment looks when it is sent again."""
    return f". {1 + ordinal * MSS}:{1 + (ordinal + 1) * MSS}({MSS}) ack 1"


def burst(host: Host, segments: int) -> tuple[Connection, Peer]:
    """`segments` in flight for a round trip after the handshake."""
    c, peer = opened(host)
    c.send(host.now, bytes(segments * MSS))
    peer.got()
    host.after(100 * MILLISECOND)
    return c, peer
