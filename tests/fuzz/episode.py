"""One episode: a host with knobs drawn at random, brought into a state again and again, and attacked in it."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Final

from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.events import LEVEL_ALL, LEVEL_STATES
from nodes.packet.tcp import ACK, FIN, RST, SYN, FastOpenOption, Segment
from nodes.packet.tcp_codec import encode_tcp
from nodes.tcp import options, parameters, states
from nodes.tcp.connection import Connection
from nodes.tcp.listener import Listener
from nodes.tcp.parameters import Parameters
from nodes.tcp.seq import MASK

from .attacker import Attacker
from .checks import Edges, check_moves, check_waiting, memory_of
from .victim import HERE6, OTHERS, PEER6, Moves, Records, StackVictim, TcpVictim, Victim
from .violation import Violation

#: Attacked states, in the order in which the episodes take them.
STATES: Final = (
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
)
#: Segments and ICMP messages of one episode.
LENGTH: Final = 400
#: Most that one episode may leave in memory: what a host has, and what a connection has without its buffers.
_HOST_BYTES: Final = 400_000
_CONNECTION_BYTES: Final = 40_000

_PORT: Final = 80
_HISTORY: Final = 64
_ADVANCES: Final = (1, 1000, MILLISECOND, 40 * MILLISECOND, 200 * MILLISECOND, SECOND, 3 * SECOND, 61 * SECOND)
_KNOB_BOUNDS: Final = {
    # What lasts hours at its highest only makes an episode slow.
    "tcp_rmem": (256, 1 << 20),
    "tcp_wmem": (256, 1 << 20),
}


class Episode:
    """Number `number` of those that `seed` makes. `done` counts what was delivered, by state."""

    def __init__(self, seed: int, number: int) -> None:
        self.rng = Random(seed << 32 | number)
        self._name = f"{seed}/{number}"
        self.state = STATES[number % len(STATES)]
        self.done: dict[str, int] = {}
        self.delivered = 0
        self.step = ""
        rng = self.rng
        kind = number // len(STATES) % 6
        knobs = self._knobs()
        level = LEVEL_ALL if rng.random() < 0.15 else LEVEL_STATES
        self.sink = Records(level) if level == LEVEL_ALL else Moves(level)
        self.victim: Victim
        if kind == 0:
            self.victim = StackVictim(knobs, self.sink, number)
        elif kind == 1:
            self.victim = StackVictim(knobs, self.sink, number, HERE6, PEER6)
        elif kind == 2:
            self.victim = TcpVictim(knobs, self.sink, number, HERE6, PEER6)
        else:
            self.victim = TcpVictim(knobs, self.sink, number)
        self.attacker = Attacker(rng)
        self.port = 1024
        self.c: Connection | None = None
        self.listener: Listener | None = None
        self.edges: Edges | None = None
        self.history: deque[Segment] = deque(maxlen=_HISTORY)
        self.seen: deque[Segment] = deque(maxlen=_HISTORY)
        self._states: dict[int, str] = {}

    def _knobs(self) -> Parameters:
        """Each from a stream of its own, so that a new knob shifts no other draw."""
        rng = self.rng
        knobs = Parameters("rfc" if rng.random() < 0.25 else "linux")
        for knob in parameters.KNOBS:
            rng = Random(f"{self._name}/{knob.name}")
            if rng.random() < 0.12 and knob.name.startswith(("tcp_", "somaxconn", "ipfrag")):
                lowest, highest = _KNOB_BOUNDS.get(knob.name, (knob.lowest, knob.highest))
                near = (lowest, highest, min(lowest + 1, highest), rng.randint(lowest, highest), rng.randint(0, 100))
                knobs.set(knob.name, max(lowest, min(near[int(rng.random() * len(near))], highest)))
        rng = self.rng
        names = sorted(knobs.controls)
        if rng.random() < 0.5:
            knobs.set("tcp_congestion_control", names[int(rng.random() * len(names))])
        return knobs

    # The way into a state.

    def enter(self) -> None:
        """A new connection (or none) in the state of this episode, as far as the knobs let it come there."""
        self.edges = None
        self.c = None
        rng = self.rng
        state = self.state
        if state in ("CLOSED", "LISTEN"):
            if state == "LISTEN":
                self._listen()
            return
        active = rng.random() < 0.5 or state == "SYN-SENT"
        c = self._open(state) if active else self._accept(state)
        if c is None:
            return
        self.c = c
        self.edges = Edges(c)
        if state in ("SYN-SENT", "SYN-RECEIVED") or c.state == states.CLOSED:
            return
        if rng.random() < 0.7:
            self._call(lambda: c.send(self.victim.now, bytes(int(rng.random() * 20_000))))
        if state == "ESTABLISHED":
            return
        fin = ACK | FIN
        if state in ("CLOSE-WAIT", "LAST-ACK"):
            self._answer(c, fin)
            if state == "LAST-ACK":
                self._leave(c)
            return
        self._leave(c)
        if state in ("FIN-WAIT-2", "TIME-WAIT"):
            self._settle(c)
        if state in ("CLOSING", "TIME-WAIT"):
            self._answer(c, fin, None if state == "TIME-WAIT" else c.snd_una)

    def _open(self, state: str) -> Connection | None:
        victim = self.victim
        chosen = self._options()
        try:
            c = victim.tcp.open(victim.now, victim.peer, _PORT + int(self.rng.random() * 3), options=chosen)
        except (SocketError, InvalidArgument):
            return None
        self._sent()
        victim.advance(victim.now + MILLISECOND)
        self._sent()
        if state == "SYN-SENT":
            return c
        ours = next((s for s in reversed(self.seen) if s.flags & SYN and s.src_port == c.local_port), None)
        if ours is None:
            return None
        self._deliver(self._syn(c.remote_port, c.local_port, ours, SYN if state == "SYN-RECEIVED" else SYN | ACK))
        return c

    def _accept(self, state: str) -> Connection | None:
        victim = self.victim
        listener = self._listen()
        if listener is None:
            return None
        self.port = 1024 + (self.port - 1023) % 60_000
        known = victim.tcp.numbered
        syn = self._syn(self.port, _PORT, None, SYN)
        self._deliver(syn)
        reply = self.seen[-1] if self.seen else None
        if state != "SYN-RECEIVED":
            if reply is None or not reply.flags & SYN:
                return None
            ack = Segment(self.port, _PORT, syn.seq + 1 & MASK, reply.seq + 1 & MASK, ACK, 65_535, b"")
            if reply.tsval >= 0:
                ack.tsval, ack.tsecr = syn.tsval, reply.tsval
            self._deliver(ack)
            return listener.accept(victim.now)
        return victim.tcp.connections.get(known + 1)

    def _listen(self) -> Listener | None:
        victim = self.victim
        if self.listener is None or self.listener.state != states.LISTEN:
            backlog = int(self.rng.random() * 4)
            try:
                self.listener = victim.tcp.listen(victim.now, b"", _PORT, backlog, self._options())
            except (SocketError, InvalidArgument):
                self.listener = None
        return self.listener

    def _options(self) -> dict[str, object]:
        called = self.rng.getrandbits(32)
        chosen: dict[str, object] = {}
        for name, (lowest, highest) in options.RANGES.items():
            rng = Random(f"{called}/{name}")
            if rng.random() < 0.08:
                chosen[name] = rng.randint(lowest, min(highest, 1 << 20))
        return chosen

    def _syn(self, port: int, local_port: int, ours: Segment | None, flags: int) -> Segment:
        rng = self.rng
        ack = ours.seq + 1 & MASK if ours is not None and flags & ACK else 0
        # Not seldom close to where sequence numbers start anew.
        seq = rng.getrandbits(32) if rng.random() < 0.6 else -int(rng.random() * 5000) & MASK
        syn = Segment(port, local_port, seq, ack, flags, int(rng.random() * 65_536), b"")
        syn.mss = (1460, 1460, 536, 100)[int(rng.random() * 4)]
        syn.sack_permitted = rng.random() < 0.8
        if rng.random() < 0.7:
            syn.window_scale = int(rng.random() * 15)
        if rng.random() < 0.7:
            syn.tsval = rng.getrandbits(32)
            syn.tsecr = max(ours.tsval, 0) if ours is not None and flags & ACK else 0
        if rng.random() < 0.3:
            # What the victim has given, if it has.
            cookies = [segment.fast_open for segment in self.seen if segment.fast_open is not None]
            syn.fast_open = cookies[-1] if cookies else FastOpenOption(b"" if ours is None else rng.randbytes(8), False)
            if ours is None and rng.random() < 0.5:
                syn.payload = rng.randbytes(int(rng.random() * 1400))
        return syn

    def _answer(self, c: Connection, flags: int, ack: int | None = None) -> None:
        """What a well-behaved peer would send now."""
        segment = Segment(
            c.remote_port,
            c.local_port,
            c.rcv_nxt & MASK,
            (c.snd_nxt if ack is None else ack) & MASK,
            flags,
            65_535,
            b"",
        )
        if c.timestamps:
            segment.tsval = c.ts_recent
            segment.tsecr = (self.victim.now // MILLISECOND + c.ts_offset) & MASK
        self._deliver(segment)

    def _settle(self, c: Connection) -> None:
        for _ in range(100):
            if not c.outstanding or c.state == states.CLOSED:
                return
            self._answer(c, ACK)

    def _leave(self, c: Connection) -> None:
        now = self.victim.now
        self._call(lambda: c.shutdown(now) if self.rng.random() < 0.5 else c.close(now))

    # The attack.

    def run(self, length: int = LENGTH) -> None:
        """Attack. Raises Violation for what no TCP may do, and whatever the stack raises."""
        self.enter()
        self._check()
        while self.delivered < length:
            self._attack()
            self._check()
            if self._finished() and self.rng.random() < 0.4:
                self.enter()
                self._check()
        self._check_memory()

    def _finished(self) -> bool:
        if self.c is None:
            return self.state not in ("CLOSED", "LISTEN")
        return self.c.state == states.CLOSED

    def _attack(self) -> None:
        rng = self.rng
        victim = self.victim
        c = self.c
        roll = rng.random()
        if roll < 0.04:
            self.step = "time"
            roll = rng.random()
            if roll < 0.5:
                until = victim.now + _ADVANCES[int(rng.random() * len(_ADVANCES))]
            else:
                # to the next deadline, unless that is long after
                until = min(victim.next_deadline(), victim.now + 7200 * SECOND)
            victim.advance(until)
            self._sent()
        elif roll < 0.08:
            self._user()
        elif roll < 0.13:
            self._icmp()
        elif roll < 0.16 or c is None:
            ports = (_PORT, self.port, 1024, 40_000) if c is None else (c.remote_port, _PORT, self.port)
            local_ports = (_PORT, 1024, 40_000) if c is None else (c.local_port, _PORT)
            if roll > 0.6 and self.history:
                self._replay()
                return
            src = OTHERS[int(rng.random() * 3)] if len(victim.here) == 4 else victim.peer
            self.step = "stray"
            self._deliver(self.attacker.stray(ports, local_ports), src)
        elif roll < 0.26 and self.history:
            self._replay()
        elif roll < 0.30 and self.seen:
            self.step = "reflected"
            ours = self.seen[int(rng.random() * len(self.seen))]
            back = Segment(ours.dst_port, ours.src_port, ours.seq, ours.ack, ours.flags, ours.window, ours.payload)
            back.tsval, back.tsecr, back.sack = ours.tsval, ours.tsecr, ours.sack
            self._deliver(back)
        elif roll < 0.34 and isinstance(victim, StackVictim):
            self._frames(victim)
        else:
            self.step = "segment"
            self._deliver(self.attacker.segment(c))

    def _replay(self) -> None:
        rng = self.rng
        self.step = "replay"
        old = self.history[int(rng.random() * len(self.history))]
        if rng.random() < 0.5:
            self._deliver(old)
            return
        changed = self.attacker.mutated_segment(old, self.victim.peer, self.victim.here)
        self.step = "mutation"
        if changed is None:
            self._count()
        else:
            self._deliver(changed)

    def _icmp(self) -> None:
        rng = self.rng
        self.step = "icmp"
        c = self.c
        kind = (3, 3, 3, 11, 12, 4, 5)[int(rng.random() * 7)]
        code = int(rng.random() * 16)
        rest = (0, 68, 552, 1280, 1499, 65_535, rng.getrandbits(32))[int(rng.random() * 7)]
        if c is not None and rng.random() < 0.7:
            seq = self.attacker.segment(c).ack
            about = Segment(c.local_port, c.remote_port, seq, 0, ACK, 0, b"")
        elif self.seen:
            about = self.seen[int(rng.random() * len(self.seen))]
        else:
            about = Segment(_PORT, self.port, rng.getrandbits(32), 0, ACK, 0, b"")
        self.victim.icmp(kind, code, rest, about, self.victim.peer)
        self._sent()
        self._count()

    def _frames(self, victim: StackVictim) -> None:
        """Bytes that the layers below TCP must cope with."""
        rng = self.rng
        self.step = "frame"
        source = self.history[int(rng.random() * len(self.history))] if self.history else None
        data = encode_tcp(source, victim.peer, victim.here) if source is not None else rng.randbytes(40)
        roll = rng.random()
        if roll < 0.4:
            frame = victim.packet(victim.peer, (6, 1, 17, 58, 0)[int(rng.random() * 5)], self.attacker.mutated(data))
        elif roll < 0.7:
            fragment = rng.getrandbits(13) | (0x2000 if rng.random() < 0.5 else 0)
            fragment = fragment if rng.random() < 0.3 else fragment & 0x2003
            frame = victim.packet(victim.peer, 6, data, fragment, int(rng.random() * 3))
        else:
            frame = b""
        if not frame or rng.random() < 0.5:
            victim.frame(self.attacker.mutated(frame or rng.randbytes(60)))
        self._sent()
        self._count()

    def _user(self) -> None:
        rng = self.rng
        victim = self.victim
        now = victim.now
        self.step = "call"
        if self.listener is not None and rng.random() < 0.2:
            listener = self.listener
            if rng.random() < 0.9:
                accepted = listener.accept(now) if listener.state == states.LISTEN else None
                if accepted is not None and (self.c is None or rng.random() < 0.3):
                    self.c = accepted
                    self.edges = None
            else:
                self._call(lambda: listener.close(now))
            self._sent()
            return
        c = self.c
        if c is None:
            return
        roll = int(rng.random() * 24)
        if roll < 8:
            self._call(lambda: c.send(now, bytes((1, 100, 1460, 5000, 100_000)[int(rng.random() * 5)])))
        elif roll < 16:
            self._call(lambda: c.receive(now, (1, 100, 1460, 5000, 1 << 20)[int(rng.random() * 5)]))
        elif roll < 20:
            name = options.NAMES[int(rng.random() * len(options.NAMES))]
            known = options.RANGES.get(name)
            names = sorted(victim.parameters.controls)
            value = rng.randint(known[0], min(known[1], 1 << 20)) if known else names[int(rng.random() * len(names))]
            self._call(lambda: c.set_option(now, name, value))
            c.get_option(name)
        elif roll < 22:
            c.status(now)
            self._call(lambda: c.peek(now, 100))
        elif roll == 22:
            self._call(lambda: c.shutdown(now))
        elif rng.random() < 0.5:
            self._call(lambda: c.close(now))
        else:
            self._call(lambda: c.abort(now))
        self._sent()

    @staticmethod
    def _call(call: object) -> None:
        """A user's call, which may be refused, but not fail otherwise."""
        assert callable(call)
        try:
            call()
        except (SocketError, InvalidArgument):
            return

    def _deliver(self, segment: Segment, src: bytes = b"") -> None:
        victim = self.victim
        self._sent()
        self.history.append(segment)
        victim.deliver(segment, src or victim.peer)
        if segment.flags & RST and any(answer.flags & RST for answer in victim.sent):
            raise Violation("a RST is answered with a RST")
        self._sent()
        self._count()

    def _sent(self) -> None:
        self.victim.flush()
        sent = self.victim.sent
        if self.edges is not None:
            self.edges.check(sent)
        self.seen.extend(sent)
        sent.clear()

    def _count(self) -> None:
        self.delivered += 1
        c = self.c
        state = states.STATE_NAMES[c.state] if c is not None else "LISTEN" if self.state == "LISTEN" else "CLOSED"
        self.done[state] = self.done.get(state, 0) + 1

    # What must hold.

    def _check(self) -> None:
        check_moves(self.sink.moves, self._states)
        check_waiting(self.victim.tcp.table.values())
        if self.edges is None and self.c is not None and self.c.synchronized:
            self.edges = Edges(self.c)

    def _check_memory(self) -> None:
        """What is left is what the knobs allow, for as many connections as there are."""
        self.history.clear()
        self.seen.clear()
        tcp = self.victim.tcp
        knobs = self.victim.parameters
        alive = [c for c in tcp.connections.values() if c.state != states.CLOSED]
        # A byte may wait in a segment of its own, which takes a hundred to keep.
        held = sum(c.snd_queue.length + 100 * (c.snd_nxt - c.snd_una + c.buffered + c.reassembly.length) for c in alive)
        allowed = _HOST_BYTES + len(tcp.connections) * _CONNECTION_BYTES + held
        used = memory_of(tcp) - memory_of(knobs)
        if used > allowed:
            raise Violation(f"{used} bytes of memory for {len(tcp.connections)} connections; {allowed} allowed")
