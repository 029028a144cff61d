"""An RST from somebody on the path, who sees the segments: its sequence numbers are exact (RFC 9293 section 3.10.7.4).

on-path-rst:
  link: r1-r2
  to: both                  # client, server or both
  when: {bytes: 100kb}      # or {state: ESTABLISHED}, {time: 3s}, now
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
    count: int = spec.number(default=1, minimum=1, maximum=1000, doc="RSTs for each end.")

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
        self._toward[frame[26:30]] = direction
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
        for end, stream, back in targets:
            assert stream.next is not None
            direction = self._toward.get(stream.sender)
            if direction is None:
                direction = self._toward[back.sender].opposite
            macs = (stream.dst_mac, stream.src_mac) if stream.dst_mac else (back.src_mac, back.dst_mac)
            flags = RST if back.next is None else RST | ACK
            packet = tcp_packet(
                stream.sender, back.sender, stream.sender_port, back.sender_port, stream.next, back.next or 0, flags
            )
            assert direction is not None
            for _ in range(self.spec.count):
                direction.inject(tcp_frame(*macs, packet), at_exit=True)
                self.results[f"rst_to_{end}"] += 1
                self._injected(f"RST to {end}, seq {stream.next}")
        self._done(f"{self.packets} RST")
        return True


def _any_flow(flow: Flow) -> bool:
    return True
