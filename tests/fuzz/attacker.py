"""What a hostile peer sends: segments near what a connection expects, mutations of what was sent before, and noise.

The attacker looks into the connection, as no real one can, so that its segments stand at every edge there is.
"""

from __future__ import annotations

from random import Random
from typing import Final

from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp import ACK, FIN, PSH, RST, SYN, URG, FastOpenOption, Segment
from nodes.packet.tcp_codec import decode_tcp, encode_tcp
from nodes.tcp.connection import Connection
from nodes.tcp.seq import MASK

#: (flags, how often out of all); what is left over gets nine random bits.
_FLAGS: Final = (
    *((ACK,) * 46),
    *((ACK | PSH,) * 16),
    *((ACK | FIN,) * 7),
    *((ACK | FIN | PSH,) * 2),
    *((SYN,) * 4),
    *((SYN | ACK,) * 4),
    *((RST,) * 2),
    *((RST | ACK,) * 2),
    *((ACK | URG,) * 2),
    *((0, FIN, FIN | SYN, SYN | RST, ACK | SYN | FIN)),
)
_STEPS: Final = (0, 0, 0, 0, 1, -1, 2, -2, 100, -100, 536, 1448, 1460, -1460, 65_535, 1 << 30, 1 << 31, (1 << 31) - 1)
_SIZES: Final = (0, 0, 0, 0, 0, 0, 1, 1, 2, 36, 100, 536, 1448, 1460, 1461, 4000)
_WINDOWS: Final = (65_535, 65_535, 29_200, 8192, 2000, 1460, 536, 100, 1, 0, 0)
_BYTES: Final = bytes(range(251)) * 300


class Attacker:
    """Draws everything from `rng`."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def segment(self, c: Connection) -> Segment:
        """A segment for `c`, right in most fields and at an edge, or beyond it, in some."""
        rng = self.rng
        pick = rng.random
        roll = int(pick() * 100)
        flags = _FLAGS[roll] if roll < len(_FLAGS) else rng.getrandbits(9)
        segment = Segment(
            c.remote_port, c.local_port, self._seq(c), self._ack(c), flags, self._pick(_WINDOWS), self._payload()
        )
        if pick() < 0.05:
            segment.window = rng.getrandbits(16)
        if flags & SYN:
            self._syn_options(segment)
        if c.timestamps:
            self._timestamps(segment, c)
        if c.sack and pick() < 0.4:
            self._sack(segment, c)
        if pick() < 0.03:
            self._noise(segment)
        return segment

    def stray(self, ports: tuple[int, ...], local_ports: tuple[int, ...]) -> Segment:
        """A segment for no connection, or for whatever stands at these ports."""
        rng = self.rng
        roll = int(rng.random() * 100)
        flags = SYN if roll < 30 else _FLAGS[roll % len(_FLAGS)]
        segment = Segment(
            self._pick(ports),
            self._pick(local_ports),
            rng.getrandbits(32),
            rng.getrandbits(32),
            flags,
            rng.getrandbits(16),
            self._payload() if roll % 4 == 0 else b"",
        )
        if flags & SYN:
            self._syn_options(segment)
        elif roll % 3 == 0:
            self._noise(segment)
        return segment

    def mutated(self, data: bytes) -> bytes:
        """Bytes with some changed, left out, said twice or added."""
        rng = self.rng
        changed = bytearray(data)
        for _ in range(1 + int(rng.random() * 3)):
            what = int(rng.random() * 6)
            at = int(rng.random() * len(changed)) if changed else 0
            if what == 0 and changed:
                changed[at] ^= 1 << int(rng.random() * 8)
            elif what == 1 and changed:
                changed[at] = rng.getrandbits(8)
            elif what == 2 and changed:
                # where the header says how long it is, and its options
                changed[min(12 + int(rng.random() * 40), len(changed) - 1)] = rng.getrandbits(8)
            elif what == 3:
                del changed[at:]
            elif what == 4:
                changed[at:at] = changed[at : at + int(rng.random() * 60)]
            else:
                changed += rng.randbytes(int(rng.random() * 40))
        return bytes(changed)

    def mutated_segment(self, segment: Segment, src: bytes, dst: bytes) -> Segment | None:
        """The segment after a change of its bytes; None when nothing can be read any more."""
        try:
            return decode_tcp(self.mutated(encode_tcp(segment, src, dst)))
        except MalformedPacket:
            return None

    def _pick(self, values: tuple[int, ...]) -> int:
        return values[int(self.rng.random() * len(values))]

    def _payload(self) -> bytes:
        size = _SIZES[int(self.rng.random() * len(_SIZES))]
        if not size:
            return b""
        start = int(self.rng.random() * 251)
        return _BYTES[start : start + size]

    def _near(self, anchor: int) -> int:
        step = _STEPS[int(self.rng.random() * len(_STEPS))]
        if step >= 1 << 30 and self.rng.random() < 0.7:
            step = 0
        return (anchor + step) & MASK

    def _seq(self, c: Connection) -> int:
        roll = self.rng.random()
        if roll < 0.6:
            return self._near(c.rcv_nxt)
        if roll < 0.7:
            return self._near(c.rcv_adv)
        if roll < 0.8:
            return (c.rcv_nxt + int(self.rng.random() * 20_000)) & MASK
        if roll < 0.9:
            return self._near(c.irs)
        if roll < 0.97:
            return self._near(c.last_ack_sent)
        return self.rng.getrandbits(32)

    def _ack(self, c: Connection) -> int:
        roll = self.rng.random()
        if roll < 0.3:
            return self._near(c.snd_una)
        if roll < 0.6:
            return self._near(c.snd_nxt)
        if roll < 0.85:
            return self._between(c)
        if roll < 0.92:
            return self._near(c.iss)
        if roll < 0.97:
            return self._near(c.snd_una - c.max_snd_wnd)
        return self.rng.getrandbits(32)

    def _between(self, c: Connection) -> int:
        """In what is outstanding: half the time where a segment starts, as far as the MSS tells."""
        span = c.snd_nxt - c.snd_una
        at = int(self.rng.random() * (span + 1))
        if self.rng.random() < 0.5:
            at -= at % c.mss
        return (c.snd_una + at) & MASK

    def _timestamps(self, segment: Segment, c: Connection) -> None:
        rng = self.rng
        roll = rng.random()
        if roll < 0.05:
            return
        segment.tsval = (c.ts_recent + int(rng.random() * 20)) & MASK if roll < 0.85 else self._near(c.ts_recent)
        if roll > 0.97:
            segment.tsval = rng.getrandbits(32)
        now = c.ts_offset + c.acked_at // 1_000_000
        segment.tsecr = (now + int(rng.random() * 400)) & MASK if roll < 0.9 else rng.getrandbits(32)

    def _sack(self, segment: Segment, c: Connection) -> None:
        rng = self.rng
        blocks = []
        for _ in range(1 + int(rng.random() * 4)):
            roll = rng.random()
            left = self._between(c) if roll < 0.85 else self._near(c.snd_una)
            right = self._between(c) if roll < 0.4 else (left + c.mss * (1 + int(rng.random() * 4))) & MASK
            blocks.append((left, right))
        segment.sack = tuple(blocks)

    def _syn_options(self, segment: Segment) -> None:
        rng = self.rng
        if rng.random() < 0.8:
            segment.mss = (1460, 536, 1, 0, 65_535)[int(rng.random() * 5)]
        if rng.random() < 0.5:
            segment.window_scale = (0, 7, 14, 15, 255)[int(rng.random() * 5)]
        segment.sack_permitted = rng.random() < 0.7
        if rng.random() < 0.5:
            segment.tsval = rng.getrandbits(32)
            segment.tsecr = rng.getrandbits(32) if rng.random() < 0.3 else 0
        if rng.random() < 0.2:
            segment.fast_open = FastOpenOption(
                rng.randbytes((0, 0, 4, 8, 16)[int(rng.random() * 5)]), rng.random() < 0.3
            )

    def _noise(self, segment: Segment) -> None:
        """Options where they do not belong, and reserved things set."""
        rng = self.rng
        segment.urgent = rng.getrandbits(16)
        segment.window_scale = rng.getrandbits(8)
        segment.mss = rng.getrandbits(16)
        segment.sack_permitted = True
        segment.tsval = rng.getrandbits(32)
        segment.tsecr = rng.getrandbits(32)
        segment.sack = tuple((rng.getrandbits(32), rng.getrandbits(32)) for _ in range(int(rng.random() * 5)))
