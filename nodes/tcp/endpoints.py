"""The TCP of one host: connections by 4-tuple, listeners, ports, timers."""

from __future__ import annotations

from collections import deque
from typing import Final, NoReturn

from nodes.base import causes
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.event_sink import EventSink
from nodes.base.events import CALL_LISTEN, CALL_OPEN, LEVEL_SEGMENTS, RECEIVED, SENT
from nodes.base.random import Randomness
from nodes.packet.address import address_text, is_any, is_multicast
from nodes.packet.tcp import RST, SYN, Segment
from nodes.packet.trace import record_segment
from nodes.tcp import (
    arrivals,
    autotuning,
    closing,
    expiry,
    fastopen,
    handshake,
    icmp,
    pathmtu,
    segments,
    sharing,
    states,
)
from nodes.tcp.challenge import ChallengeLimit
from nodes.tcp.congestion.base import Ack
from nodes.tcp.connection import Connection
from nodes.tcp.counters import Counters
from nodes.tcp.fastopen import FastOpenClient
from nodes.tcp.isn import IsnGenerator
from nodes.tcp.listener import Listener
from nodes.tcp.mutants import constant_isn
from nodes.tcp.network import Address, Network
from nodes.tcp.options import Options
from nodes.tcp.parameters import Parameters
from nodes.tcp.ports import Binding, Ports, local_ports
from nodes.tcp.seq import MASK, before
from nodes.tcp.tcb import ACTIVE, Tcb, change_state
from nodes.tcp.timers import TimerHeap

#: Ended connections kept in `Tcp.connections` for STATUS; the oldest go first.
ENDED_KEPT: Final = 4096

#: Local address, local port, remote address, remote port.
FourTuple = tuple[bytes, int, bytes, int]


class Tcp:
    """Sans-I/O: segments, ICMP errors, timers and user calls come in with the instant; segments go to `network`,
    events to `sink`, and `on_ready` of connections and listeners is called after each event is fully processed."""

    def __init__(
        self,
        node: str,
        network: Network,
        parameters: Parameters,
        randomness: Randomness,
        sink: EventSink,
        counters: Counters,
    ) -> None:
        self.network = network
        self.parameters = parameters
        self.sink = sink
        self.counters = counters
        self.node = sink.name(node)
        #: Every connection by its number, which is never used again; see ENDED_KEPT.
        self.connections: dict[int, Connection] = {}
        #: By address and port, the first of those that share them.
        self.listeners: dict[tuple[bytes, int], Listener] = {}
        self.timers = TimerHeap()
        self.challenge_limit = ChallengeLimit(parameters)
        #: What the ACK at hand tells congestion controls.
        self.ack = Ack()
        self.ready_listeners: list[Listener] = []
        self.table: dict[FourTuple, Connection] = {}
        #: Whose segment came last: the next one is most often its too.
        self._latest: Connection | None = None
        self.ports = Ports(self)
        self._ended: deque[int] = deque()
        #: How many numbers were given.
        self.numbered = 0
        #: Connections that nobody holds, and those in TIME-WAIT (tcp_max_orphans, tcp_max_tw_buckets).
        self.orphans = 0
        self.time_waits = 0
        #: What we know of the Fast Open of others.
        self.fast_open = FastOpenClient()
        self.isn = IsnGenerator(randomness.stream(f"node/{node}/tcp/secret"))
        self.port_stream = randomness.stream(f"node/{node}/tcp/ports")

    # segments and time

    def on_segment(self, now: int, src: Address, dst: Address, segment: Segment, interface: int, frame: int) -> None:
        """A segment with a right checksum has arrived for our address `dst`, on `interface` (interned name) in its
        `frame`-th frame (both for the trace)."""
        self.counters.TcpInSegs += 1
        c = self._latest
        if (
            c is None
            or c.remote_port != segment.src_port
            or c.local_port != segment.dst_port
            or c.remote != src
            or c.local != dst
        ):
            c = self.table.get((dst, segment.dst_port, src, segment.src_port))
            if c is not None:
                self._latest = c
        if self.sink.level >= LEVEL_SEGMENTS:
            number = 0 if c is None else c.number
            record_segment(
                self.sink, now, self.node, number, causes.NONE, RECEIVED, interface, frame, src, dst, segment, False
            )
        if c is None:
            self._unconnected(now, src, dst, segment, -1)
        elif c.state == states.TIME_WAIT and self._reopens(c, now, segment):
            self._unconnected(now, src, dst, segment, c.snd_nxt & MASK)
        else:
            arrivals.arrive(c, now, segment)
            if c.ready:
                c.ready = False
                if c.on_ready is not None:
                    c.on_ready()
        if self.ready_listeners:
            self._notify_listeners()

    def _reopens(self, c: Connection, now: int, segment: Segment) -> bool:
        """A new SYN in TIME-WAIT for which somebody listens (RFC 9293 section 3.6.1, MAY-2)."""
        if not closing.may_reuse(c, segment) or self.listener_for(c.local, c.local_port) is None:
            return False
        self._replace(c, now)
        return True

    def _replace(self, c: Connection, now: int) -> None:
        """A new connection takes the place of one in TIME-WAIT."""
        self.counters.TcpExtTWRecycled += 1
        change_state(c, now, states.CLOSED, causes.TIME_WAIT_REUSED)
        self.notify(c)

    def _unconnected(self, now: int, src: Address, dst: Address, segment: Segment, isn_after: int) -> None:
        listener = self.listener_for(dst, segment.dst_port)
        if listener is not None:
            if listener.group is not None:
                count, port = len(listener.group), segment.dst_port
                listener = listener.group[sharing.index(self.isn, count, dst, port, src, segment.src_port)]
            listener.arrive(now, src, dst, segment, isn_after)
        else:
            # 3.10.7.1: in CLOSED everything but a RST is answered with one.
            self.reset_for(now, src, dst, segment, causes.NO_SUCH_CONNECTION)

    def listener_for(self, address: bytes, port: int) -> Listener | None:
        """Who takes connections to an address and port of ours."""
        listeners = self.listeners
        return (
            listeners.get((address, port)) or listeners.get((bytes(len(address)), port)) or listeners.get((b"", port))
        )

    def reset_for(self, now: int, src: Address, dst: Address, segment: Segment, cause: int) -> None:
        """Answer a segment that belongs to no connection with RST; a RST with nothing."""
        if segment.flags & RST:
            self.sink.reset(now, self.node, 0, cause, RECEIVED, False, segment.seq)
            return
        answer = segments.reset_for(segment)
        self.counters.TcpOutSegs += 1
        self.counters.TcpOutRsts += 1
        self.sink.reset(now, self.node, 0, cause, SENT, True, answer.seq)
        self.network.transmit(now, dst, src, answer, 0, cause, False)

    def on_icmp_error(
        self,
        now: int,
        src: Address,
        dst: Address,
        src_port: int,
        dst_port: int,
        seq: int,
        icmp_type: int,
        icmp_code: int,
        mtu: int,
    ) -> bool:
        """An ICMP error that quotes our segment `src`:`src_port` -> `dst`:`dst_port` with number `seq`. False: that is
        not in flight, so the error may be forged (RFC 5927 section 4.1)."""
        c = self.table.get((src, src_port, dst, dst_port))
        if c is None:
            return False
        believed = icmp.on_error(c, now, seq, icmp_type, icmp_code, mtu)
        self.notify(c)
        return believed

    def on_timer(self, now: int) -> None:
        """Serve every deadline that has passed. Calling it early is harmless."""
        while (c := self.timers.pop_due(now)) is not None:
            expiry.expire(c, now)
            deadline = c.next_deadline()
            if deadline < c.wake_at:
                self.timers.wake(c, deadline)
            self.notify(c)

    def next_deadline(self) -> int:
        """When `on_timer` must be called next, ns, or NEVER. It may turn out that nothing is due yet."""
        return self.timers.next_wake()

    # user calls

    def open(
        self,
        now: int,
        remote: Address,
        remote_port: int,
        local: Address = b"",
        local_port: int = 0,
        options: dict[str, object] | None = None,
        binding: Binding | None = None,
    ) -> Connection:
        """Active OPEN (3.10.1): send a SYN. `local` b"" and `local_port` 0 are chosen here, else bound here unless they
        are those of `binding`. With the option TCP_FASTOPEN_CONNECT and a cookie of the server's, the first SEND sends
        it (RFC 7413).

        Raises InvalidArgument for a bad port or option; SocketError EADDRINUSE when the port is held, EADDRNOTAVAIL
        when there is no such address, no port left, or (`connection already exists`) such a connection; ENETUNREACH.
        """
        _check_port("remote_port", remote_port, 1)
        _check_port("local_port", local_port, 0)
        chosen = self._options(options)
        if local != b"" and len(local) != len(remote):
            given = f"{address_text(local)} and {address_text(remote)}"
            raise InvalidArgument(f"local and remote: {given} are of two families; one of them is allowed", "local")
        if is_multicast(remote) or self.network.is_broadcast(remote):  # RFC 9293 MUST-46
            raise SocketError("ENETUNREACH", f"{address_text(remote)} is not the address of one host")
        self._check_local(local)
        bound = local_port != 0
        if binding is not None:
            chosen.owner = binding.owner
        if bound and self.ports.taken(local, local_port, chosen.reuseaddr != 0, chosen.share, binding):
            self._refuse_held(now, CALL_OPEN, states.CLOSED)
        if is_any(local):
            local = self.network.source_for(remote)
        if not bound:
            local_port = self._free_port(now, local, remote, remote_port)
        isn_after = -1
        existing = self.table.get((local, local_port, remote, remote_port))
        if existing is not None and closing.yields_to_open(existing, now, bound):
            isn_after = existing.snd_nxt & MASK
            self._replace(existing, now)
        elif existing is not None:
            self.sink.illegal(now, self.node, existing.number, causes.ERROR_ALREADY_EXISTS, existing.state, CALL_OPEN)
            raise SocketError("EADDRNOTAVAIL", causes.CAUSES[causes.ERROR_ALREADY_EXISTS].words)
        c = self.new_connection(now, ACTIVE, local, local_port, remote, remote_port, chosen, isn_after)
        self.sink.call(now, self.node, c.number, CALL_OPEN, 0)
        self.counters.TcpActiveOpens += 1
        change_state(c, now, states.SYN_SENT, causes.USER_ACTIVE_OPEN)
        c.ready = False
        if chosen.fastopen_connect:
            fastopen.prepare(c, now)
        if c.fast is None or not c.fast.deferred:
            handshake.send_syn(c, now, SYN)
        return c

    def listen(
        self,
        now: int,
        local: Address,
        local_port: int,
        backlog: int,
        options: dict[str, object] | None = None,
        binding: Binding | None = None,
    ) -> Listener:
        """Passive OPEN (3.10.1) on `local` (b"": any of ours, zeros: any of that family), which is bound here unless
        it is that of `binding`. `backlog` is capped by somaxconn.

        Raises InvalidArgument for a bad port, backlog or option, SocketError EADDRINUSE when the port is held
        (`connection already exists`), or EADDRNOTAVAIL.
        """
        _check_port("local_port", local_port, 1)
        if backlog < 0:
            raise InvalidArgument(f"backlog: {backlog} is not allowed; 0 and more is", "backlog")
        self._check_local(local)
        chosen = self._options(options)
        if binding is not None:
            chosen.owner = binding.owner
        if self.ports.taken(local, local_port, chosen.reuseaddr != 0, chosen.share, binding):
            self._refuse_held(now, CALL_LISTEN, states.LISTEN)
        listener = Listener(self, local, local_port, min(backlog, self.parameters.somaxconn), chosen)
        sharing.join(self.listeners, listener)
        self.sink.call(now, self.node, 0, CALL_LISTEN, backlog)
        listener.open(now)
        return listener

    # for the rest of this package

    def new_connection(
        self,
        now: int,
        origin: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        options: Options,
        isn_after: int,
    ) -> Connection:
        """A TCB in CLOSED, in the table. `isn_after`: a raw number that its ISN must be beyond, or -1."""
        iss = self.isn.initial_sequence(now, local, local_port, remote, remote_port)
        if self.parameters.mutants.constant_isn:
            iss = constant_isn.ISN
        elif isn_after >= 0 and not before(isn_after, iss):
            # RFC 9293 section 3.6.1: larger than any number of the old incarnation.
            iss = (isn_after + 0x1_0002) & MASK
        return self.add_connection(now, origin, local, local_port, remote, remote_port, options, iss)

    def add_connection(
        self,
        now: int,
        origin: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        options: Options,
        iss: int,
    ) -> Connection:
        """A TCB in CLOSED with a given ISN, in the table."""
        self.numbered += 1
        c = self.embryo(now, self.numbered, origin, local, local_port, remote, remote_port, options, iss)
        self.table[(local, local_port, remote, remote_port)] = c
        self.connections[c.number] = c
        name = self.sink.name
        self.sink.connection(
            now,
            self.node,
            c.number,
            origin,
            name(address_text(local)),
            local_port,
            name(address_text(remote)),
            remote_port,
        )
        for mutant in self.parameters.mutants.names:
            self.sink.mutant(now, self.node, c.number, name(mutant))
        return c

    def embryo(
        self,
        now: int,
        number: int,
        origin: int,
        local: bytes,
        local_port: int,
        remote: bytes,
        remote_port: int,
        options: Options,
        iss: int,
    ) -> Connection:
        """A TCB in CLOSED that nobody knows of; with number 0 it is only there to answer a SYN with."""
        own = options.copy(self.parameters)
        c = Connection(self, number, origin, local, local_port, remote, remote_port, own, iss)
        pathmtu.begin(c, now)
        c.ts_offset = self.isn.timestamp_offset(local, local_port, remote, remote_port)
        if c.scaling:
            c.rcv_shift = autotuning.window_scale_for(c)
        return c

    def forget(self, c: Tcb, now: int, cause: int) -> None:
        """`c` is CLOSED because of `cause`: its 4-tuple is free again."""
        self.table.pop((c.local, c.local_port, c.remote, c.remote_port), None)
        if self._latest is c:
            self._latest = None
        if c.fast is not None and c.fast.listener is not None:
            c.fast.listener.fast_open.release(c, now, cause)
        if c.listener is not None:
            # Never more than embryonic: nobody holds it, and a SYN flood must not fill our memory.
            c.listener.forget(c, now)
            self.connections.pop(c.number, None)
            return
        self._ended.append(c.number)
        if len(self._ended) > ENDED_KEPT:
            self.connections.pop(self._ended.popleft(), None)

    def forget_listener(self, listener: Listener) -> None:
        """`listener` is CLOSED: its port is free again, unless others share it."""
        sharing.leave(self.listeners, listener)

    def notify(self, c: Tcb) -> None:
        """Tell whoever waits that something may have changed, if it has."""
        if c.ready:
            c.ready = False
            if c.on_ready is not None:
                c.on_ready()
        if self.ready_listeners:
            self._notify_listeners()

    def _notify_listeners(self) -> None:
        ready = self.ready_listeners
        self.ready_listeners = []
        for listener in ready:
            if listener.on_ready is not None:
                listener.on_ready()

    def bind(self, local: Address, local_port: int, reuse: bool, reuseport: bool = False, owner: int = 0) -> Binding:
        """Hold a local address (b"": any, zeros: any of that family) and port (0: one is chosen) for a `listen` or
        `open` to come, of a socket of uid `owner` (see ports.py). Raises InvalidArgument for a bad port, SocketError
        EADDRINUSE, EADDRNOTAVAIL."""
        _check_port("local_port", local_port, 0)
        self._check_local(local)
        return self.ports.bind(local, local_port, reuse, reuseport, owner)

    def _check_local(self, local: Address) -> None:
        if not is_any(local) and not self.network.is_local(local):
            raise SocketError("EADDRNOTAVAIL", f"{address_text(local)} is not an address of this host")

    def _refuse_held(self, now: int, call: int, state: int) -> NoReturn:
        self.sink.illegal(now, self.node, 0, causes.ERROR_ALREADY_EXISTS, state, call)
        raise SocketError("EADDRINUSE", causes.CAUSES[causes.ERROR_ALREADY_EXISTS].words)

    def _options(self, given: dict[str, object] | None) -> Options:
        options = Options(self.parameters)
        for name, value in (given or {}).items():
            options.set(self.parameters, name, value)
        return options

    def _free_port(self, now: int, local: bytes, remote: bytes, remote_port: int) -> int:
        """A port of ip_local_port_range not in use for this pair."""
        for port in local_ports(self.parameters, self.port_stream):
            taken = self.table.get((local, port, remote, remote_port))
            free = taken is None or closing.yields_to_open(taken, now, False)
            if free and not self.ports.bound(local, port):
                return port
        first, last = self.parameters.ip_local_port_range
        raise SocketError("EADDRNOTAVAIL", f"no free port in ip_local_port_range {first}..{last}")


def _check_port(field: str, port: int, lowest: int) -> None:
    if not lowest <= port <= 65535:
        raise InvalidArgument(f"{field}: {port} is not allowed; a port from {lowest} to 65535 is", field)
