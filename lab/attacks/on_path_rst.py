"""An RST from somebody on the path, who sees the segments: its sequence numbers are exact (RFC 9293 section 3.10.7.4).

on-path-rst:
  link: r1-r2
  to: both                  # client, server or both
  when: {bytes: 100kb}      # or {state: ESTABLISHED}, {time: 3s}, now
  count: 3

The first RST follows what was seen pass, so it is exact unless some of that, or the RST, is lost or overtaken between
here and the victim: then RFC 5961 has a challenge ACK for it. So with a `count` the attack goes on as tcpkill(8) does:
each segment that the victim sends brings it another RST, until there have been as many or it is stopped. As tcpkill
does, it has the number that the segment acknowledges, which is what the victim expects, but only when the victim
repeats that number, and so lacks something; else that number is behind what is on its way, and the RST has the next
number after that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from lab import spec
from lab.attacks.base import Attack, AttackContext, AttackSpec
from lab.attacks.flows import Flow, Flows, Stream
from lab.attacks.forge import tcp_frame, tcp_packet
from lab.links.direction import Direction, Tap
from lab.links.frame import FrameView
from nodes.base.clock import Timer
from nodes.base.errors import FailedPrecondition
from nodes.base.events import CONNECTION, LEVEL_STATES, STATE
from nodes.packet.address import address_text
from nodes.packet.tcp import ACK, RST
from nodes.tcp.states import STATE_NAMES

TO: Final = ("client", "server", "both")


@dataclass(frozen=True)
class OnState:
    """When a connection enters a state."""

    short: ClassVar[str] = "state"
    state: str = spec.choice(STATE_NAMES[1:], doc="RFC 9293's name of it.")
    node: str = spec.text(default="", doc="At this node; at any when not given.")


@dataclass(frozen=True)
class AfterBytes:
    """When a connection has carried so many bytes of payload, both ways together."""

    short: ClassVar[str] = "bytes"
    bytes: int = spec.size(minimum=1)


@dataclass(frozen=True)
class AtTime:
    """At an instant of lab time."""

    short: ClassVar[str] = "time_ns"
    time_ns: int = spec.duration()


@dataclass(frozen=True)
class Now:
    """As soon as it has seen the connection."""


Condition = OnState | AfterBytes | AtTime | Now
CONDITIONS: Final[dict[str, type]] = {"state": OnState, "bytes": AfterBytes, "time": AtTime, "now": Now}


@dataclass(frozen=True, kw_only=True)
class OnPathRst(AttackSpec):
    """RSTs with exact sequence numbers, from somebody on a link."""

    kind: ClassVar[str] = "on-path-rst"
    link: str = spec.text(doc="The link on which the attacker sits.")
    to: str = spec.choice(TO, default="both", doc="Who gets the RST.")
    when: Condition = spec.one_of("condition", CONDITIONS, default=Now(), doc="What it waits for.")
    client: str = spec.text(default="", doc="Only connections that this node (or address) opened.")
    server: str = spec.text(default="", doc="Only connections to this node (or address).")
    port: int = spec.number(default=0, maximum=65535, doc="Only connections to this port; 0: any.")
    count: int = spec.number(
        default=1, minimum=1, maximum=1000, doc="RSTs for each end, one with each segment that passes."
    )

    def taps(self) -> Sequence[str]:
        return (self.link,)

    def make(self, name: str, context: AttackContext) -> Attack:
        return _OnPathRst(self, name, context)


class _OnPathRst(Attack):
    kind = OnPathRst.kind

    def __init__(self, attack: OnPathRst, name: str, context: AttackContext) -> None:
        super().__init__(name, context)
        self.spec = attack
        self._link = context.link(attack.link)
        self._client = context.node(context.host(attack.client)[0]) if attack.client else ()
        self._server = context.node(context.host(attack.server)[0]) if attack.server else ()
        self._flows = Flows()
        self._taps: list[tuple[Direction, Tap]] = []
        self._toward: dict[bytes, Direction] = {}  # by sender's address: the direction its segments take
        self._timer: Timer | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._ends: dict[tuple[int, int], tuple[int, ...]] = {}  # (node, connection) -> local, port, remote, port
        self._target: Flow | None = None  # the connection that it has begun to end
        self._left: dict[str, int] = {}  # RSTs yet to come, by end
        self._expected: dict[str, int] = {}  # the number that an end acknowledged last
        self._due: Callable[[Flow], bool] | None = None  # the condition holds, for the flows that this says
        self.results = {"connections_seen": 0, "bytes_seen": 0, "rst_to_client": 0, "rst_to_server": 0}
        if isinstance(attack.when, OnState):
            if attack.when.node:
                context.node(attack.when.node)
            if context.sink.level < LEVEL_STATES:
                raise FailedPrecondition("an attack that waits for a state needs trace level states or higher")

    def _begin(self) -> None:
        for direction in (self._link.forward, self._link.backward):
            tap = self._tap(direction)
            direction.add_tap(tap)
            self._taps.append((direction, tap))
        when = self.spec.when
        if isinstance(when, OnState):
            self._unsubscribe = self.context.subscribe((CONNECTION, STATE), self._on_event)
        elif isinstance(when, AtTime):
            self._timer = self.context.scheduler.call_at(when.time_ns, self._on_time, None)
        elif isinstance(when, Now):
            self._due = _any_flow

    def _release(self) -> None:
        for direction, tap in self._taps:
            direction.remove_tap(tap)
        self._taps.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    # Seeing.

    def _tap(self, direction: Direction) -> Tap:
        def tap(now: int, frame: bytes) -> None:
            self._on_frame(direction, frame)

        return tap

    def _on_frame(self, direction: Direction, frame: bytes) -> None:
        flow = self._flows.saw(frame)
        if flow is None or self.ended:
            return
        self._toward[FrameView(frame).src] = direction
        if self._target is not None:
            if flow is self._target:
                self._again(flow, FrameView(frame))
            return
        self.results["connections_seen"] = len(self._flows.flows)
        if not self._is_wanted(flow):
            return
        self.results["bytes_seen"] = flow.bytes
        when = self.spec.when
        if isinstance(when, AfterBytes):
            if flow.bytes >= when.bytes:
                self._fire(flow)
        elif self._due is not None and self._due(flow):
            self._fire(flow)

    def _is_wanted(self, flow: Flow) -> bool:
        client, server = flow.to_server, flow.to_client  # a stream knows its sender
        return (
            (not self._client or client.sender in self._client)
            and (not self._server or server.sender in self._server)
            and self.spec.port in (0, server.sender_port)
        )

    # Conditions.

    def _on_time(self, _: None) -> None:
        self._now_due(_any_flow)

    def _on_event(
        self,
        seq: int,
        kind: int,
        time_ns: int,
        node: int,
        connection: int,
        cause: int,
        values: tuple[int, ...],
        tail: bytes,
    ) -> None:
        when = self.spec.when
        if kind == CONNECTION:
            self._ends[node, connection] = values[1:]
        elif isinstance(when, OnState) and STATE_NAMES[values[1]] == when.state and self._due is None:
            if when.node and node != self.context.sink.name(when.node):
                return
            ends = self._ends.get((node, connection), ())
            if ends and self.spec.port not in (0, ends[1], ends[3]):
                return
            # Not at once: the segment that caused the change is only now leaving the link, and is seen right after.
            self._timer = self.context.scheduler.call_at(time_ns, self._on_state, (node, ends))

    def _on_state(self, who: tuple[int, tuple[int, ...]]) -> None:
        node, ends = who
        name = self.context.sink.name

        def is_it(flow: Flow) -> bool:
            one, other = flow.to_server, flow.to_client
            if not ends:  # the connection is older than this attack: any that ends at the node
                return any(
                    name(at) == node and (one.sender in addresses or other.sender in addresses)
                    for at, addresses in self.context.addresses.items()
                )
            one_id, other_id = name(address_text(one.sender)), name(address_text(other.sender))
            there = (one_id, one.sender_port, other_id, other.sender_port)
            return ends in (there, there[2:] + there[:2])

        self._now_due(is_it)

    def _now_due(self, which: Callable[[Flow], bool]) -> None:
        """The condition holds: fire at the latest flow that is meant, or at the first one to be seen."""
        if self.ended:
            return
        self._due = which
        for flow in reversed(list(self._flows.flows.values())):
            if self._is_wanted(flow) and which(flow) and self._fire(flow):
                return

    # Firing.

    def _fire(self, flow: Flow) -> bool:
        """Inject the RSTs, if enough was seen to make them exact; then it is done."""
        targets: list[tuple[str, Stream, Stream]] = []
        if self.spec.to != "client":
            targets.append(("server", flow.to_server, flow.to_client))
        if self.spec.to != "server":
            targets.append(("client", flow.to_client, flow.to_server))
        if any(stream.next is None for _, stream, _ in targets):
            return False
        ends = " and ".join(f"{address_text(back.sender)}:{back.sender_port}" for _, _, back in targets)
        self._trigger(f"RST to {ends}")
        self._target = flow
        self._left = {end: self.spec.count for end, _, _ in targets}
        for end, stream, back in targets:
            assert stream.next is not None
            self._reset(end, stream, back, stream.next)
        self._finish()
        return True

    def _again(self, flow: Flow, view: FrameView) -> None:
        """A segment has passed, and there may be an RST left for who sent it. An RST brings none: it may be ours."""
        flags = view.data[view.tcp + 13]
        if flags & RST or not flags & ACK:
            return
        sender = view.src, view.u16(view.tcp)
        end, stream, back = "client", flow.to_client, flow.to_server
        if sender != (back.sender, back.sender_port):
            end, stream, back = "server", back, stream
        expected = view.u32(view.tcp + 8)
        repeated = self._expected.get(end) == expected
        self._expected[end] = expected
        if self._left.get(end):
            self._reset(end, stream, back, expected if repeated or stream.next is None else stream.next)
            self._finish()

    def _reset(self, end: str, stream: Stream, back: Stream, number: int) -> None:
        """Inject one RST to an end, as if from its peer, with this sequence number."""
        direction = self._toward.get(stream.sender) or self._toward[back.sender].opposite
        assert direction is not None
        macs = (stream.dst_mac, stream.src_mac) if stream.dst_mac else (back.src_mac, back.dst_mac)
        flags = RST if back.next is None else RST | ACK
        packet = tcp_packet(
            stream.sender, back.sender, stream.sender_port, back.sender_port, number, back.next or 0, flags
        )
        self._left[end] -= 1
        direction.inject(tcp_frame(*macs, packet), at_exit=True)
        self.results[f"rst_to_{end}"] += 1
        self._injected(f"RST to {end}, seq {number}")

    def _finish(self) -> None:
        if not any(self._left.values()):
            self._done(f"{self.packets} RST")


def _any_flow(flow: Flow) -> bool:
    return True
