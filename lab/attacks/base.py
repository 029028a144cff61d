"""What every attack is: a spec, a life (PENDING, RUNNING, DONE, STOPPED), counters; and what it may touch of a lab."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from lab.links.link import Link
from nodes.base.clock import Scheduler
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.event_sink import EventSink
from nodes.base.events import ATTACK_CREATED, ATTACK_DONE, ATTACK_INJECTED, ATTACK_STOPPED, ATTACK_TRIGGERED
from nodes.base.random import Randomness
from nodes.packet.address import parse_address

PENDING: Final = "PENDING"  # waits for its condition
RUNNING: Final = "RUNNING"  # injects
DONE: Final = "DONE"
STOPPED: Final = "STOPPED"  # by its owner, before it was done
STATES: Final = (PENDING, RUNNING, DONE, STOPPED)
_PLAIN: Final = ("state", "packets", "created_ns", "triggered_ns", "ended_ns")

#: listener(seq, kind, time_ns, node, connection, cause, values, tail), inside the call that emits the event.
Listener = Callable[[int, int, int, int, int, int, tuple[int, ...], bytes], None]
#: subscribe(kinds, listener) -> the way to stop, as lab.trace.spool.SpoolWriter.subscribe.
Subscribe = Callable[[tuple[int, ...], Listener], Callable[[], None]]


class AttackContext:
    """What an attack can reach, and nothing more.

    `addresses` are those of each node that has any, by name; `send_raw(node, packet)` sends an IP packet, as it is,
    from a node.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        randomness: Randomness,
        sink: EventSink,
        links: Mapping[str, Link],
        addresses: Mapping[str, Sequence[bytes]],
        send_raw: Callable[[str, bytes], None],
        subscribe: Subscribe,
    ) -> None:
        self.scheduler = scheduler
        self.randomness = randomness
        self.sink = sink
        self.send_raw = send_raw
        self.subscribe = subscribe
        self._links = links
        self.addresses = addresses

    def link(self, name: str) -> Link:
        """A link of the lab. Raises NotFound naming those there are."""
        if name not in self._links:
            raise NotFound(_missing("link", name, self._links))
        return self._links[name]

    def node(self, name: str) -> Sequence[bytes]:
        """The addresses of a node of the lab. Raises NotFound naming those there are."""
        if name not in self.addresses:
            raise NotFound(_missing("node", name, self.addresses))
        return self.addresses[name]

    def host(self, text: str) -> tuple[str, bytes]:
        """The node and address that a node's name (its first address) or one of the lab's addresses stands for."""
        if text in self.addresses:
            return text, self.addresses[text][0]
        try:
            address = parse_address(text)
        except InvalidArgument:
            raise NotFound(_missing("node", text, self.addresses)) from None
        for node, addresses in self.addresses.items():
            if address in addresses:
                return node, address
        raise NotFound(f"no node of this lab has the address {text}; attacks stay inside it")


def _missing(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"this lab has no {what} {name!r}; " + (f"did you mean {near[0]}?" if near else f"it has {shown or 'none'}")


class Attack:
    """One attack in a lab. `results` are its counters, `packets` what it has injected."""

    kind: ClassVar[str]

    def __init__(self, name: str, context: AttackContext) -> None:
        self.name = name
        self.state = PENDING
        self.packets = 0
        self.results: dict[str, int] = {}
        self.created_ns = context.scheduler.now()
        self.triggered_ns = -1  # not yet
        self.ended_ns = -1  # not yet
        self.context = context
        self._name_id = 0

    def start(self) -> None:
        """Begin; once. Everything that can be wrong was found when the attack was made."""
        self._name_id = self.context.sink.name(self.name)
        self._tell(ATTACK_CREATED, self.kind)
        self._begin()

    def stop(self) -> None:
        """End it early; nothing happens when it has ended."""
        if not self.ended:
            self._end(STOPPED, ATTACK_STOPPED, "stopped")

    @property
    def ended(self) -> bool:
        """Whether it is DONE or STOPPED."""
        return self.state in (DONE, STOPPED)

    def plain(self) -> dict[str, Any]:
        """How it stands, as plain values, for another process."""
        return {name: getattr(self, name) for name in _PLAIN} | {"results": dict(self.results)}

    def take(self, said: Mapping[str, Any]) -> None:
        """Stand as another process's `plain` says that its twin of this one does."""
        for name in _PLAIN:
            setattr(self, name, said[name])
        self.results = dict(said["results"])

    # For the attacks themselves.

    def _begin(self) -> None:
        """Arm whatever starts the attack."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of taps, timers and subscriptions."""
        raise NotImplementedError

    def _trigger(self, why: str) -> None:
        self.state = RUNNING
        self.triggered_ns = self.context.scheduler.now()
        self._tell(ATTACK_TRIGGERED, why)

    def _injected(self, note: str) -> None:
        self.packets += 1
        self._tell(ATTACK_INJECTED, note)

    def _done(self, note: str) -> None:
        self._end(DONE, ATTACK_DONE, note)

    def _end(self, state: str, action: int, note: str) -> None:
        self.state = state
        self.ended_ns = self.context.scheduler.now()
        self._release()
        self._tell(action, note)

    def _tell(self, action: int, note: str) -> None:
        self.context.sink.attack(self.context.scheduler.now(), self._name_id, action, self.packets, note)


class AttackSpec:
    """Base of the spec of each attack (a frozen dataclass)."""

    kind: ClassVar[str]

    def make(self, name: str, context: AttackContext) -> Attack:
        """The attack, checked against the lab but not started. Raises NotFound, InvalidArgument, FailedPrecondition."""
        raise NotImplementedError

    def place(self) -> str:
        """The node whose process runs the attack in a real-time lab; "": the link engine's."""
        return ""

    def taps(self) -> Sequence[str]:
        """The links whose frames it sees or to which it adds."""
        return ()
