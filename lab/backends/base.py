"""`Lab`: one running lab, as the gRPC services and the experiment runner see it. `sim.py` is the virtual-time one.

Calls never move time: each takes effect at the current instant; one that must wait returns an Operation. Time moves by
`advance` alone. Every call that changes something is recorded, before it acts, as an ACTION event whose text is
canonical JSON: `{"call": "send", "node": "h1", ..., "step": 1234}`; `step` is how many scheduled calls had been made,
so that a session can be rerun to the byte. What only reads is not recorded, nor is a call on what does not exist.

All methods may raise TcplabError: NotFound for a name that does not exist, InvalidArgument, SocketError for what TCP
refuses, FailedPrecondition (also for any changing call on a closed lab). A call that raises leaves nothing half-done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lab.backends.until import Stopped, Until
from lab.operations import Operation, Operations
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import FailedPrecondition, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from lab.attacks.base import Attack, AttackSpec
    from lab.backends.real.execution import Execution
    from lab.links.link import Link
    from lab.links.rules import Rule, RuleSpec
    from lab.topology.model import Topology
    from lab.trace.spool import SpoolWriter
    from nodes.base.tasks import Task
    from nodes.tcp.info import TcpInfo


#: How long `Lab.advance` waits between looks, wall ns; something that happens ends the wait.
WAIT_NS: Final = 100 * MILLISECOND


@dataclass(frozen=True)
class Capability:
    """Something a backend can do, or why it cannot."""

    name: str
    available: bool
    reason: str = ""


@dataclass(frozen=True)
class ListenerInfo:
    """A passive OPEN. `number` is unique on its node; queues are counts of connections."""

    node: str
    number: int
    local: str
    local_port: int
    backlog: int
    syn_queue: int
    accept_queue: int


@dataclass(frozen=True)
class AppInfo:
    """An application. `results` are its own words, complete when it is done; `error` why it ended badly (errno name
    where there is one), `connections` the numbers of those it has or had."""

    name: str
    node: str
    kind: str
    done: bool
    results: Mapping[str, Any]
    error: str
    connections: tuple[int, ...]


class Logs(ABC):
    """What a node's container prints. `read` waits and may run in any thread; `close` ends that from another."""

    @abstractmethod
    def read(self) -> bytes:
        """The next piece; b"" when there is no more."""

    @abstractmethod
    def close(self) -> None:
        """Idempotent."""


class Advance(ABC):
    """One movement of the clock, made in slices so that a server can do other things between them."""

    @abstractmethod
    def step(self, max_calls: int, not_after_ns: int = NEVER) -> Stopped | None:
        """Make up to `max_calls` scheduled calls, none later than `not_after_ns`; None: not there yet.

        Raises FailedPrecondition, naming who waits for what, when nothing can happen any more and the condition was
        not `idle` or a time.
        """

    @abstractmethod
    def wait(self, max_ns: int) -> None:
        """Wait, `max_ns` of wall time at most, until `step` may find more than it did. Not for whoever has a loop."""

    @abstractmethod
    def close(self) -> None:
        """Give the clock back, wherever it is. Idempotent; done by `step` itself when it stops or raises."""


#: Called with what is being made, how many of it are, and how many there will be.
Progress = Callable[[str, int, int], None]


class Lab(ABC):
    """One running lab. Nodes, links and so on are in the topology's order."""

    @abstractmethod
    def __init__(
        self,
        name: str,
        topology: Topology,
        seed: int,
        spool: Path,
        level: int,
        capture: bool,
        progress: Progress | None = None,
    ) -> None:
        """Build a topology; lab time 0 is now. Raises Unsupported, AlreadyExists, NotFound, InvalidArgument."""

    name: str
    seed: int
    backend: str
    #: Whether time passes by itself; `fileno` and `pump` are for such labs.
    real_time: bool = False
    #: Of a real-time lab: what CLOCK_MONOTONIC read at lab time 0, ns.
    epoch_ns: int = 0
    topology: Topology
    operations: Operations
    #: Called when the lab or a node has FAILED by itself, for whoever shows states.
    on_change: Callable[[], None] = staticmethod(lambda: None)
    #: Of a real-time lab: called when `next_time` has become earlier, also within `pump`.
    on_earlier: Callable[[], None] = staticmethod(lambda: None)
    #: Where events go; `sink.subscribe` listens, `sink.path` is the spool for readers.
    sink: SpoolWriter

    # -- reading

    @abstractmethod
    def now(self) -> int:
        """The current instant, ns of lab time."""

    @abstractmethod
    def next_time(self) -> int:
        """When something happens next, ns; NEVER when nothing will."""

    @classmethod
    def missing(cls) -> str:
        """What this machine lacks for labs of this kind, and how to get it; "" when nothing. To be asked in a process
        without threads, which may be another user afterwards."""
        return ""

    @classmethod
    @abstractmethod
    def capabilities(cls) -> Sequence[Capability]:
        """What can be done here, by name; the same for every lab of a backend."""

    @property
    @abstractmethod
    def nodes(self) -> Sequence[str]:
        """Names of the nodes with a TCP: hosts and routers, not switches."""

    @property
    @abstractmethod
    def links(self) -> Mapping[str, Link]:
        """Links by name."""

    @property
    @abstractmethod
    def attacks(self) -> Mapping[str, Attack]:
        """Attacks by name, stopped ones included."""

    @property
    @abstractmethod
    def apps(self) -> Mapping[str, AppInfo]:
        """Applications by name, ended ones included."""

    @property
    def failure(self) -> str:
        """Why the lab as a whole cannot go on; "" while it can."""
        return ""

    def node_failure(self, node: str) -> str:
        """Why the node's process is gone; "" while it is there."""
        return ""

    @abstractmethod
    def addresses(self, node: str) -> Sequence[str]:
        """The node's addresses, first interface first."""

    @abstractmethod
    def resolve(self, host: str) -> bytes:
        """The address that a node's name (its first address) or an address in text stands for."""

    @abstractmethod
    def parameters(self, node: str) -> Mapping[str, int | str]:
        """Every knob of the node by its sysctl name."""

    @abstractmethod
    def counters(self, node: str) -> Mapping[str, int]:
        """Every counter of the node by its nstat name."""

    @abstractmethod
    def status(self, node: str, connection: int) -> TcpInfo:
        """STATUS (RFC 9293 section 3.10.6); ended connections too."""

    @abstractmethod
    def connections(self, node: str) -> Sequence[TcpInfo]:
        """STATUS of every connection the node ever had, by number."""

    @abstractmethod
    def listeners(self, node: str) -> Sequence[ListenerInfo]:
        """Open listeners of the node."""

    @abstractmethod
    def get_option(self, node: str, connection: int, name: str) -> int | str:
        """A socket option such as TCP_NODELAY."""

    def logs(self, node: str, tail: int = 0, follow: bool = False) -> Logs:
        """What the node's container has printed: the last `tail` lines or, when that is 0, all; with `follow` also what
        it prints from now on. Raises Unsupported where nodes are no containers."""
        raise Unsupported(
            f"nodes of backend {self.backend} are no containers and print nothing; backend docker's do. Events tell "
            "what happens on a node"
        )

    @abstractmethod
    def link_statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        """Counters of each direction (`h1->r1`) by name."""

    @abstractmethod
    def rules(self, link: str) -> Sequence[Rule]:
        """The link's packet rules in their order."""

    # -- the clock

    def fileno(self) -> int:
        """Of a real-time lab: a descriptor that is readable when `pump` has something to do."""
        raise FailedPrecondition(f"a {self.backend} lab has no descriptor: its time is virtual")

    def pump(self) -> None:
        """Of a real-time lab: handle what came and what is due by `next_time`, without waiting."""
        raise FailedPrecondition(f"a {self.backend} lab is not pumped: its time is virtual")

    @abstractmethod
    def start_advance(self, until: Until) -> Advance:
        """Take the clock. Raises FailedPrecondition while another advance holds it, NotFound for an unknown operation,
        InvalidArgument for a time in the past or an event the trace level leaves out."""

    def advance(self, until: Until) -> Stopped:
        """`start_advance`, run to its end."""
        advance = self.start_advance(until)
        while True:
            stopped = advance.step(1 << 30)
            if stopped is not None:
                return stopped
            advance.wait(WAIT_NS)

    def wait(self, *operations: Operation) -> None:
        """Advance until these are done; raises the first one's error."""
        pending = tuple(operation.name for operation in operations if not operation.done)
        if pending:
            self.advance(Until(operations=pending))
        for operation in operations:
            operation.value()

    def settle(self) -> Task | None:
        """Hear from every process what has happened up to now. None: there is nothing to wait for."""
        return None

    # -- TCP user calls (RFC 9293 section 3.9.1). `timeout_ns` is lab time from now; the operation then ends with
    #    TimeoutError and the connection stays as it is.

    @abstractmethod
    def open(
        self,
        node: str,
        remote: str,
        remote_port: int,
        *,
        local: str = "",
        local_port: int = 0,
        options: Mapping[str, int | str] | None = None,
        timeout_ns: int = NEVER,
    ) -> Operation:
        """Active OPEN to an address or a node. `connection` is known at once; done (TcpInfo) when ESTABLISHED."""

    @abstractmethod
    def listen(
        self,
        node: str,
        local_port: int,
        *,
        local: str = "",
        backlog: int = 128,
        options: Mapping[str, int | str] | None = None,
    ) -> ListenerInfo:
        """Passive OPEN. Its connections are taken by `accept`."""

    @abstractmethod
    def close_listener(self, node: str, listener: int) -> None:
        """Stop listening; connections not yet accepted are reset."""

    @abstractmethod
    def accept(self, node: str, listener: int, *, timeout_ns: int = NEVER) -> Operation:
        """The next established connection of a listener (result: TcpInfo)."""

    @abstractmethod
    def send(
        self,
        node: str,
        connection: int,
        payload: Payload,
        *,
        more: bool = False,
        end: bool = False,
        urgent: bool = False,
        timeout_ns: int = NEVER,
    ) -> Operation:
        """SEND; done when all is in the send buffer (result: number of bytes). Of the last byte say: `more`, that it
        waits for what follows (MSG_MORE); `end`, that it ends a record (MSG_EOR); `urgent`, that it is urgent data
        (RFC 6093, MSG_OOB)."""

    @abstractmethod
    def receive(
        self,
        node: str,
        connection: int,
        *,
        max_bytes: int = 65536,
        min_bytes: int = 1,
        keep: bool = True,
        urgent: bool = False,
        timeout_ns: int = NEVER,
    ) -> Operation:
        """RECEIVE; done with `min_bytes` to `max_bytes` or at the FIN (result: Received). Without `keep` the bytes are
        only counted and digested, and `min_bytes` = `max_bytes` may be any length. `urgent`: the urgent byte instead,
        which is not in the stream (MSG_OOB); nothing when the FIN comes first."""

    @abstractmethod
    def wait_ready(self, node: str, connection: int, *, read: bool, write: bool, timeout_ns: int = NEVER) -> Operation:
        """Done when readable (data, FIN or error) or writable, whichever was asked (result: tuple of these words:
        `readable`, `writable`)."""

    @abstractmethod
    def shutdown(self, node: str, connection: int) -> None:
        """Half-close: no more sending; FIN follows what is queued."""

    @abstractmethod
    def close(self, node: str, connection: int) -> None:
        """CLOSE, without waiting."""

    @abstractmethod
    def linger(self, node: str, connection: int) -> Operation:
        """CLOSE as close(2) with SO_LINGER: done when all is acknowledged, our FIN too, or that option's seconds have
        passed (result: TcpInfo)."""

    @abstractmethod
    def abort(self, node: str, connection: int) -> None:
        """ABORT: RST."""

    @abstractmethod
    def set_option(self, node: str, connection: int, name: str, value: int | str) -> None:
        """Set a socket option."""

    @abstractmethod
    def cancel(self, operation: str) -> None:
        """Cancel an operation; nothing happens when it is done."""

    @abstractmethod
    def ping(
        self,
        node: str,
        remote: str,
        *,
        count: int = 1,
        interval_ns: int = SECOND,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = SECOND,
    ) -> Operation:
        """Send ICMP echo requests (result: list[PingResult], one for each). `timeout_ns` is each one's; `ttl` 0: the
        node's default."""

    # -- nodes, links, attacks, apps

    @abstractmethod
    def set_parameters(self, node: str, values: Mapping[str, int | str]) -> None:
        """Change knobs, all or none; each acts at its next use."""

    @abstractmethod
    def update_link(self, link: str, changes: Mapping[str, Any], direction: str = "") -> None:
        """Change the named fields of Impairments (Python names), of one direction (`h1->r1`) or both, atomically.
        What is in flight stays in flight."""

    @abstractmethod
    def set_link_up(self, link: str, up: bool) -> None:
        """Take the link down (frames offered are dropped) or up."""

    @abstractmethod
    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        """Append a packet rule."""

    @abstractmethod
    def remove_rule(self, link: str, rule: str) -> None:
        """Remove a packet rule; what it holds is released."""

    @abstractmethod
    def create_attack(self, attack: AttackSpec, name: str = "") -> Attack:
        """Start an attack (`attack-1` ... when no name is given)."""

    @abstractmethod
    def stop_attack(self, attack: str) -> None:
        """Stop an attack; nothing happens when it has ended."""

    @abstractmethod
    def start_app(self, node: str, kind: str, settings: Mapping[str, Any], name: str = "") -> AppInfo:
        """Start an application of nodes/apps now, by its word there. `settings` are as in a file (`bytes: 10mb`).
        It is called `<node>-<kind>-1` ... when no name is given."""

    @abstractmethod
    def stop_app(self, app: str) -> None:
        """Cancel an application; it closes what it holds."""

    def execute(
        self,
        node: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        timeout_ns: int = NEVER,
    ) -> Execution:
        """Run a command, without a shell, on a node; `env` adds to its environment, `cwd` "" is the root directory,
        `timeout_ns` is wall time. On a node with our stack it finds programs of ours first in its PATH (nodes/shims).
        Raises NotFound for a program that is not there, Unsupported."""
        raise Unsupported(
            f"backend {self.backend} runs no commands: its nodes are not on this machine's kernel, and its time is not "
            "the machine's; the nodes of real-time backends, such as netns, run them, and here `apps` do what they do"
        )

    def inside(self, node: str) -> AbstractContextManager[None]:
        """Have the calling thread in the node's network namespace meanwhile, to open a socket there."""
        raise Unsupported(f"backend {self.backend} has no interfaces on this machine; backend netns has")

    # -- the end

    def facts(self) -> Mapping[str, Any]:
        """What the manifest of the run should say beside: how far a real-time run can be believed."""
        return {}

    @abstractmethod
    def close_lab(self) -> None:
        """End the lab: counters are recorded, the spool is closed, no timer runs. Reading goes on. Idempotent."""
