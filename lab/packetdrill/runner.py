"""Running a script: its packets, calls, commands and Python, each at its time, on one stack in virtual time."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.packetdrill import flow as flows
from lab.packetdrill import segment as segments
from lab.packetdrill import verify
from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.calls import Calls, Running, finish
from lab.packetdrill.code import Snippets
from lab.packetdrill.commands import Commands
from lab.packetdrill.config import Config, configure
from lab.packetdrill.flow import Flow
from lab.packetdrill.icmp import error_about
from lab.packetdrill.parser import parse
from lab.packetdrill.problem import Mismatch, NotExpressible
from lab.packetdrill.script import (
    ABSOLUTE,
    ANY,
    Call,
    Code,
    Command,
    Event,
    IcmpPacket,
    Packet,
    Script,
    When,
)
from lab.packetdrill.segment import WireSegment
from lab.packetdrill.tcp_info import tcp_info
from lab.packetdrill.wire import Wire
from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument
from nodes.packet import tcp
from nodes.packet.malformed import MalformedPacket
from nodes.tcp.parameters import Parameters

#: How long after its time a packet is waited for, to say when it came; and how long one that may come at any time.
_LATE: Final = 2 * SECOND
_EVER: Final = 3_600 * SECOND
#: Ports of the peers that open connections to us, in order.
_FIRST_PEER_PORT: Final = 50_000


class Outcome(enum.Enum):
    """How a script ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Result:
    """How one script ended. `line` and `text` say where and why, if it did not pass; `printed` is what it printed."""

    outcome: Outcome
    line: int = 0
    text: str = ""
    printed: tuple[str, ...] = ()


def run_file(path: Path, definitions: Mapping[str, str] | None = None, seed: int = 1) -> Result:
    """Run the script in a file. Raises OSError when it cannot be read."""
    return run_text(path.read_text(), path.parent, definitions, seed)


def run_text(text: str, folder: Path = Path(), definitions: Mapping[str, str] | None = None, seed: int = 1) -> Result:
    """Run a script; its shell commands' paths are relative to `folder`. Same script and seed, same run."""
    printed: list[str] = []
    try:
        script = parse(text, definitions or {})
        runner = Runner(script, configure(script), folder, seed)
        printed = runner.printed
        runner.run()
    except Mismatch as problem:
        return Result(Outcome.FAILED, problem.line, problem.text, tuple(printed))
    except NotExpressible as problem:
        return Result(Outcome.UNSUPPORTED, problem.line, problem.text, tuple(printed))
    except InvalidArgument as error:
        return Result(Outcome.INVALID, error.line, str(error).removeprefix(f"line {error.line}: "), tuple(printed))
    return Result(Outcome.PASSED, printed=tuple(printed))


@dataclass(slots=True)
class _Blocked:
    """A system call that has not returned."""

    event: Event
    call: Call
    running: Running
    ends: int


class Runner:
    """One run of one script."""

    def __init__(self, script: Script, config: Config, folder: Path, seed: int) -> None:
        parameters = Parameters()
        self._script = script
        self._config = config
        self._wire = Wire(config, parameters, seed)
        self._calls = Calls(config, self._wire)
        self._snippets = Snippets()
        self._commands = Commands(folder, self._wire, parameters)
        self._blocked: _Blocked | None = None
        self._next_peer_port = _FIRST_PEER_PORT
        self._event = script.events[0]
        #: Time of the event before, as the script has it, ns.
        self._last = 0
        self._identification = 0

    @property
    def printed(self) -> list[str]:
        """What the script's Python has printed."""
        return self._snippets.printed

    def run(self) -> None:
        """Run the script. Raises Mismatch, NotExpressible or InvalidArgument."""
        for event in (self._script.setup, *self._script.events, self._script.cleanup):
            if event is not None:
                self._event = event
                self._one(event)
        if self._blocked is not None:
            self._await(self._blocked.ends + _LATE)
            if self._blocked is not None:
                raise Mismatch(self._blocked.event.line, f"{self._blocked.call.name} does not return")

    def _one(self, event: Event) -> None:
        action = event.action
        if isinstance(action, Packet) and not action.inbound:
            self._expect(event, action)
            return
        if isinstance(action, IcmpPacket) and not action.inbound:
            raise NotExpressible(event.line, "ICMP from the stack")
        time = self._time(event.when, event.when.start)
        self._advance(time)
        self._check_time(event, self._wire.now, "this")
        if isinstance(action, Packet):
            self._inject(event.line, action)
        elif isinstance(action, IcmpPacket):
            self._wire.inject(error_about(event.line, action, self._flow(event.line)))
        elif isinstance(action, Call):
            self._call(event, action)
        elif isinstance(action, Command):
            self._commands.run(event.line, action.text)
        elif isinstance(action, Code):
            self._snippets.run(event.line, action.text, lambda: self._tcp_info(event.line))
        self._resume()
        self._last = time

    # Time.

    def _time(self, when: When, value: int) -> int:
        return value if when.kind == ABSOLUTE else self._wire.now + value

    def _advance(self, until: int) -> None:
        while self._wire.advance(until):
            self._resume()
        self._resume()

    def _tolerance(self, expected: int) -> int:
        return max(self._config.tolerance, (expected - self._last) * self._config.tolerance_percent // 100)

    def _check_time(self, event: Event, actual: int, what: str, base: int = -1) -> None:
        """Whether what happened at `actual` is in time; a RELATIVE event's time counts from `base`."""
        when = event.when
        if when.kind == ANY:
            return
        offset = 0 if when.kind == ABSOLUTE else base if base >= 0 else actual - when.start
        first = when.start + offset
        last = first if when.end < 0 else when.end + offset
        tolerance = self._tolerance(first)
        if not first - tolerance <= actual <= last + tolerance:
            wanted = f"{_seconds(first)}" if last == first else f"{_seconds(first)} to {_seconds(last)}"
            raise Mismatch(event.line, f"{what} comes at {_seconds(actual)} s instead of {wanted} s")

    # Packets.

    def _flow(self, line: int) -> Flow:
        if self._calls.flow is None:
            raise Mismatch(line, "no socket that this packet could be of")
        return self._calls.flow

    def _inject(self, line: int, packet: Packet) -> None:
        flow = self._calls.flow
        if flow is None or flow.state == flows.LISTENING:
            flow = self._calls.flow = Flow(
                self._config,
                flows.SYN_ARRIVED,
                local_port=self._config.bind_port,
                remote_port=self._next_peer_port,
                remote_isn=packet.seq,
            )
            self._next_peer_port += 1
        self._identification = self._identification + 1 & 0xFFFF
        self._wire.inject(segments.encode(flow.inbound(line, packet), self._identification))

    def _expect(self, event: Event, packet: Packet) -> None:
        base = self._wire.now
        flow = self._flow(event.line)
        when = event.when
        start = self._time(when, when.start)
        until = base + _EVER if when.kind == ANY else max(start, self._time(when, when.end)) + _LATE
        whole: WireSegment | None = None
        full = 1
        time = base
        while whole is None or len(whole.payload) < packet.size:
            time, live = self._sent(flow, until, packet)
            if whole is None:
                if flow.state in (flows.CONNECTING, flows.SYN_ARRIVED) and live.flags & tcp.SYN:
                    flow.starts_with(packet, live)
                whole = flow.outbound(live)
                full = max(len(live.payload), 1)
            else:
                pieces = verify.joined(whole, flow.outbound(live), full)
                if isinstance(pieces, str):
                    raise Mismatch(event.line, pieces)
                whole = pieces
            if self._config.strict_segments:
                break
        mss = flow.connection.mss if flow.connection is not None else full
        ticks = self._stamp_ticks(when, start)
        text = verify.difference(packet, whole, flow, full >= mss or len(whole.payload) > full, ticks)
        if text:
            raise Mismatch(event.line, f"{text}: the stack sends {whole.words()}")
        self._check_time(event, time, "this packet", base)
        self._last = base if when.kind == ANY else start

    def _stamp_ticks(self, when: When, time: int) -> int:
        if not self._config.ts_tick:
            return -1
        tolerance = max(self._config.tolerance, time * self._config.tolerance_percent // 100)
        return tolerance // (self._config.ts_tick * 1000)

    def _sent(self, flow: Flow, until: int, packet: Packet) -> tuple[int, WireSegment]:
        """The next segment the stack has sent, or sends by `until`, on `flow`, and when."""
        line = self._event.line
        while True:
            while self._wire.sent:
                seen = self._wire.sent.popleft()
                try:
                    live = segments.decode(seen.packet)
                except (MalformedPacket, ValueError) as error:
                    raise Mismatch(line, f"the stack sends {error}") from None
                if live is not None and flow.owns(live):
                    return seen.time, live
            if self._wire.now >= until or not self._wire.advance(until):
                self._resume()
                if not self._wire.sent:
                    raise Mismatch(
                        line, f"the stack sends nothing until {_seconds(until)} s; expected {_words(packet)}"
                    )
            self._resume()

    def _tcp_info(self, line: int) -> dict[str, int]:
        flow = self._flow(line)
        if flow.connection is None:
            raise Mismatch(line, "no connection that TCP_INFO could be of")
        return tcp_info(flow.connection, self._wire.now)

    # System calls.

    def _call(self, event: Event, call: Call) -> None:
        if self._blocked is not None:
            self._await(self._blocked.ends + _LATE)
            if self._blocked is not None:
                raise Mismatch(self._blocked.event.line, f"{self._blocked.call.name} does not return")
        arguments = Arguments(event.line, call.name, call.arguments)
        running = self._calls.start(arguments, call.result)
        ends = -1
        if call.ends is not None:
            ends = call.ends.start + (0 if event.when.kind == ABSOLUTE else self._wire.now - event.when.start)
        blocked = _Blocked(event, call, running, ends)
        if not self._step(blocked):
            if call.ends is None:
                raise Mismatch(event.line, f"{call.name} blocks")
            self._blocked = blocked

    def _await(self, until: int) -> None:
        while self._blocked is not None and self._wire.advance(until):
            self._resume()

    def _resume(self) -> None:
        if self._blocked is not None and self._step(self._blocked):
            self._blocked = None

    def _step(self, blocked: _Blocked) -> bool:
        """Let a call go on; whether it has returned. Raises Mismatch when it returns the wrong thing or too late."""
        errno = ""
        try:
            result = finish(blocked.running)
        except CallFailed as failure:
            result, errno = -1, failure.errno
        self._wire.settle()
        if result is None:
            return False
        call, line = blocked.call, blocked.event.line
        if result != call.result or (call.errno and errno != call.errno):
            wanted = f"{call.result} {call.errno}".strip()
            raise Mismatch(line, f"{call.name} gives {f'{result} {errno}'.strip()} instead of {wanted}")
        if blocked.ends >= 0:
            tolerance = self._tolerance(blocked.ends)
            if not blocked.ends - tolerance <= self._wire.now <= blocked.ends + tolerance:
                now, ends = _seconds(self._wire.now), _seconds(blocked.ends)
                raise Mismatch(line, f"{call.name} returns at {now} s instead of {ends} s")
        return True


def _words(packet: Packet) -> str:
    size = packet.seq + packet.size
    return f"{segments.flag_words(packet.flags)} {packet.seq}:{size}({packet.size})"


def _seconds(time: int) -> str:
    return f"{time / SECOND:.6f}"
