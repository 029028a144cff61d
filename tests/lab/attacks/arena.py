"""A lab of real stacks for attacks: a bulk transfer from one host to another, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab import spec
from lab.attacks.base import Attack, AttackContext, Listener
from lab.attacks.catalogue import ATTACKS
from lab.backends.network import Network
from lab.topology.loader import topology_from_text
from nodes.base.clock import NEVER, SimScheduler
from nodes.base.errors import SocketError
from nodes.base.events import LEVEL_ALL, RECEIVED, RESET, STATE
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner
from nodes.packet.address import parse_address
from nodes.sockets.stream import connect, listen
from nodes.tcp.states import STATE_NAMES
from tests.lab.links.bench import Recorder

TOPOLOGY = """
nodes: {h1: host, h2: host, mallory: host, r1: router, r2: router}
link_defaults: {delay: 5ms, rate: 20mbit}
links: [h1-r1, r1-r2, r2-h2, mallory-r1]
"""


class Sink(Recorder):
    """A recorder to which one can listen, as to a spool."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.state_changes: list[tuple[int, int, int]] = []  # instant, node, new state
        self.resets_received: list[tuple[int, bool]] = []  # node, accepted
        self.listeners: list[tuple[tuple[int, ...], Listener]] = []

    def subscribe(self, kinds: tuple[int, ...], listener: Listener) -> Callable[[], None]:
        entry = (kinds, listener)
        self.listeners.append(entry)
        return lambda: self.listeners.remove(entry) if entry in self.listeners else None

    def emit_tail(
        self, kind: int, time_ns: int, node: int, conn: int, cause: int, values: tuple[int, ...], tail: bytes
    ) -> None:
        super().emit_tail(kind, time_ns, node, conn, cause, values, tail)
        if kind == STATE:
            self.state_changes.append((time_ns, node, values[1]))
        elif kind == RESET and values[0] == RECEIVED:
            self.resets_received.append((node, bool(values[1])))
        for kinds, listener in tuple(self.listeners):
            if kind in kinds:
                listener(len(self.events), kind, time_ns, node, conn, cause, values, tail)


class Arena:
    """h1 connects to h2 port 80 from port 40000 and sends; `errors` are what each end's user saw in the end."""

    def __init__(self, topology: str = TOPOLOGY, level: int = LEVEL_ALL) -> None:
        self.scheduler = SimScheduler()
        self.runner = TaskRunner(self.scheduler)
        self.sink = Sink(level)
        randomness = Randomness(7)
        self.network = Network(
            topology_from_text(topology), self.scheduler, self.runner, randomness, self.sink, parse_address
        )
        self.context = AttackContext(
            self.scheduler,
            randomness,
            self.sink,
            self.network.links,
            {name: self.network.addresses(name) for name in self.network.hosts},
            self.send_raw,
            self.sink.subscribe,
        )
        self.errors: dict[str, str] = {}
        self.sent = b""
        self.content = b""  # what h2's user received

    @property
    def received(self) -> int:
        """Bytes that h2's user received."""
        return len(self.content)

    def send_raw(self, node: str, packet: bytes) -> None:
        host = self.network.hosts[node]
        host.stack.send_raw_ip(self.scheduler.now(), packet)
        host.driver.flush()

    def attack(self, text: str, start: bool = True) -> Attack:
        """Make an attack from what a file would say."""
        ((kind, settings),) = spec.read_text(text).plain().items()
        attack = spec.from_mapping(ATTACKS[kind], settings).make("attack-1", self.context)
        if start:
            attack.start()
        return attack

    def at(self, time_ns: int, call: Any) -> None:
        self.scheduler.call_at(time_ns, lambda _: call(), None)

    def transfer(self, length: int) -> None:
        """Start the transfer; h1 half-closes at its end and waits for the FIN of h2, which closes at its own end."""
        self.runner.spawn(0, "server", self._guard("h2", self._serve()))
        self.runner.spawn(1, "client", self._guard("h1", self._send(length)))

    def transfer_and_idle(self, length: int) -> None:
        """The same, but nobody closes."""
        self.runner.spawn(0, "server", self._guard("h2", self._serve()))
        self.runner.spawn(1, "client", self._guard("h1", self._send(length, close=False)))

    def run(self, until_ns: int = NEVER) -> Arena:
        while self.scheduler.next_time() < until_ns and self.scheduler.run_next():
            pass
        return self

    def states(self, node: str) -> list[str]:
        """The states that the node's connections went through."""
        wanted = self.sink.name(node)
        return [STATE_NAMES[new] for _, at, new in self.sink.state_changes if at == wanted]

    def resets(self, node: str) -> list[bool]:
        """Whether each RST that reached the node was accepted."""
        return [accepted for at, accepted in self.sink.resets_received if at == self.sink.name(node)]

    async def _guard(self, node: str, work: Any) -> None:
        try:
            await work
            self.errors[node] = ""
        except SocketError as error:
            self.errors[node] = error.errno_name

    async def _serve(self) -> None:
        driver = self.network.hosts["h2"].driver
        socket = await listen(driver, 80).accept()
        while data := await socket.recv():
            self.content += data
        socket.close()

    async def _send(self, length: int, close: bool = True) -> None:
        driver = self.network.hosts["h1"].driver
        socket = await connect(driver, self.network.addresses("h2")[0], 80, local_port=40000)
        self.sent = Randomness(length).stream("content").bits(8 * length).to_bytes(length, "big")
        await socket.send_all(self.sent)
        if close:
            socket.shutdown()
        while await socket.recv():
            pass
        socket.close()
