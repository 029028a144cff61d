"""`Commands`: programs run on a node, their input and output, and how they ended.

Whoever runs one reads its output piece by piece, so that a slow reader slows the command and nothing piles up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from nodes.agent.member import Member
from nodes.base.clock import NEVER, SECOND, Timer
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound, SocketError
from nodes.base.real import RealScheduler
from nodes.base.tasks import TaskRunner
from nodes.sockets.gate import Gate

#: A command that is told to end (SIGTERM) because its time is over has so long; then it is killed.
GRACE_NS: Final = 2 * SECOND
#: The most of one stream in one answer.
PIECE: Final = 1 << 16


class Place(Protocol):
    """Where programs run. `environment` is what they have of themselves."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables, PATH among them."""

    def has_directory(self, path: str) -> bool:
        """Whether programs find a directory there."""

    def check(self) -> None:
        """Raises FailedPrecondition when nothing can be run there any more."""

    def enter(self) -> None:
        """Have the calling process, a fork of the one that made this, see what programs see. Raises OSError."""

    def close(self) -> None:
        """End what still runs there, as far as it is ours. Idempotent."""


#: Makes the place when the first program is to be run.
MakePlace = Callable[[], Place]


@dataclass(frozen=True, slots=True)
class Exit:
    """`code` is the exit code; of a command that a signal killed, 128 and its number, and `signal` its name."""

    code: int
    signal: str
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Output:
    """What a command has said since the last look. `exit` is there when it has ended and has nothing more to say."""

    stdout: bytes
    stderr: bytes
    exit: Exit | None


class Command:
    """One command. It runs in a session of its own; signals go to its process group, as Ctrl-C does."""

    def __init__(
        self, scheduler: RealScheduler, runner: TaskRunner, process: subprocess.Popen[bytes], timeout_ns: int
    ) -> None:
        self._scheduler = scheduler
        self._process = process
        self._gate = Gate(runner)
        self._timed_out = False
        self._timer: Timer | None = None
        self._input: int | None = _taken(process.stdin)
        self._outputs: dict[int, bytearray] = {}
        self._open: set[int] = set()
        self._pidfd = os.pidfd_open(process.pid)
        self._ended = False
        for stream in (process.stdout, process.stderr):
            descriptor = _taken(stream)
            self._outputs[descriptor] = bytearray()
            self._open.add(descriptor)
            self._watch(descriptor)
        scheduler.add_reader(self._pidfd, self._on_end)
        if timeout_ns != NEVER:
            self._timer = scheduler.call_at(scheduler.now() + timeout_ns, self._on_timeout, signal.SIGTERM)

    async def read(self) -> Output:
        """Wait for output or the end."""
        while True:
            said = [self._take(descriptor) for descriptor in self._outputs]
            done = self._ended and not self._open and not any(self._outputs.values())
            if done or any(said):
                return Output(said[0], said[1], self._exit() if done else None)
            await self._gate.wait("output of a command", NEVER)

    async def write(self, data: bytes) -> None:
        """Give it input; returns when it is in the pipe. Raises SocketError EPIPE when nobody reads any more."""
        scheduler = self._scheduler
        while data:
            if self._input is None:
                raise SocketError("EPIPE", "the command's standard input is closed")
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                scheduler.add_writer(self._input, self._gate.notify)
                try:
                    await self._gate.wait("room in the standard input of a command", NEVER)
                finally:
                    if self._input is not None:
                        scheduler.remove_writer(self._input)
            except BrokenPipeError:
                self.end_input()

    def end_input(self) -> None:
        """End of file on its standard input. Idempotent."""
        if self._input is not None:
            self._scheduler.remove_writer(self._input)
            os.close(self._input)
            self._input = None
            self._gate.notify()

    def send_signal(self, number: int) -> None:
        """To the command's process group. Nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Kill what still runs of its process group, and let go of everything."""
        if not self._ended:
            self.send_signal(signal.SIGKILL)
            self._process.wait()
            self._on_end()
        if self._timer is not None:
            self._timer.cancel()
        self.end_input()
        for descriptor in list(self._open):
            self._end_of(descriptor)

    def _watch(self, descriptor: int) -> None:
        self._scheduler.add_reader(descriptor, lambda: self._on_output(descriptor))

    def _on_output(self, descriptor: int) -> None:
        held = self._outputs[descriptor]
        try:
            data = os.read(descriptor, PIECE)
        except BlockingIOError:
            return
        if data:
            held += data
            if len(held) >= PIECE:
                self._scheduler.remove_reader(descriptor)
        else:
            self._end_of(descriptor)
        self._gate.notify()

    def _take(self, descriptor: int) -> bytes:
        held = self._outputs[descriptor]
        data = bytes(held)
        if data:
            held.clear()
            if descriptor in self._open:
                self._watch(descriptor)
        return data

    def _end_of(self, descriptor: int) -> None:
        self._scheduler.remove_reader(descriptor)
        self._open.discard(descriptor)
        os.close(descriptor)

    def _on_end(self) -> None:
        if self._process.poll() is None:
            return
        self._ended = True
        self._scheduler.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._timer is not None:
            self._timer.cancel()
        # A child that went on in the background may hold the pipes for ever: what is in them now is all.
        for descriptor in list(self._open):
            self._drain(descriptor)
        self._gate.notify()

    def _drain(self, descriptor: int) -> None:
        held = self._outputs[descriptor]
        with contextlib.suppress(BlockingIOError):
            while data := os.read(descriptor, PIECE):
                held += data
        self._end_of(descriptor)

    def _on_timeout(self, number: int) -> None:
        self._timed_out = True
        self.send_signal(number)
        self._timer = None
        if number != signal.SIGKILL:
            self._timer = self._scheduler.call_at(self._scheduler.now() + GRACE_NS, self._on_timeout, signal.SIGKILL)

    def _exit(self) -> Exit:
        code = self._process.returncode
        if code < 0:
            return Exit(128 - code, _signal_name(-code), self._timed_out)
        return Exit(code, "", self._timed_out)


class Commands:
    """The commands of a node by number. `environment` is what they have beside what the place has."""

    def __init__(
        self,
        scheduler: RealScheduler,
        runner: TaskRunner,
        make_place: MakePlace,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._make_place = make_place
        self._environment = environment or {}
        self._place: Place | None = None
        self._commands: dict[int, Command] = {}
        self._count = 0

    def offer_to(self, member: Member) -> None:
        """Offer the calls below as exec_start, exec_read ..."""
        for name in ("start", "read", "write", "end_input", "signal", "end"):
            member.offer(f"exec_{name}", getattr(self, name))

    def start(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, cwd: str = "", timeout_ns: int = NEVER
    ) -> int:
        """Run a command, without a shell; returns its number. `env` adds to what the place has; `cwd` "" is /.

        Raises NotFound for a program or directory that is not there, InvalidArgument, FailedPrecondition.
        """
        _check(argv, env or {}, timeout_ns)
        if self._place is None:
            self._place = self._make_place()
        place = self._place
        place.check()
        environment = {**place.environment, **self._environment, **(env or {})}
        directory = cwd or "/"
        if not place.has_directory(directory):
            raise NotFound(f"cwd: there is no directory {directory}")
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=environment,
                start_new_session=True,
                preexec_fn=_entering(place, directory),
            )
        except FileNotFoundError:
            raise NotFound(f"argv: there is no program {argv[0]!r} in {environment.get('PATH', os.defpath)}") from None
        except PermissionError:
            raise InvalidArgument(f"argv: {argv[0]!r} is not a program that can be run", "argv") from None
        except OSError as error:
            raise InvalidArgument(f"argv: {argv[0]!r} cannot be run: {error.strerror}", "argv") from None
        except subprocess.SubprocessError as error:
            raise FailedPrecondition(f"{argv[0]!r} cannot be run on this node: {error}") from None
        self._count += 1
        self._commands[self._count] = Command(self._scheduler, self._runner, process, timeout_ns)
        return self._count

    def read(self, number: int) -> Coroutine[Any, Any, Output]:
        """What it says next; with `exit`, it was the last."""
        return self._command(number).read()

    def write(self, number: int, data: bytes) -> Coroutine[Any, Any, None]:
        """Bytes for its standard input. Raises SocketError EPIPE."""
        return self._command(number).write(data)

    def end_input(self, number: int) -> None:
        """Its standard input ends."""
        self._command(number).end_input()

    def signal(self, number: int, signal: str) -> None:
        """Send a signal by its name, TERM or SIGTERM. Raises InvalidArgument."""
        self._command(number).send_signal(_signal_number(signal))

    def end(self, number: int) -> None:
        """Kill what still runs of it, and forget it."""
        command = self._command(number)
        del self._commands[number]
        command.close()

    def close(self) -> None:
        """Kill every program of the node."""
        for number in list(self._commands):
            self.end(number)
        if self._place is not None:
            self._place.close()
            self._place = None

    def _command(self, number: int) -> Command:
        command = self._commands.get(number)
        if command is None:
            raise NotFound(f"there is no command {number}")
        return command


def _entering(place: Place, directory: str) -> Callable[[], None]:
    def enter() -> None:
        place.enter()
        os.chdir(directory)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which members ignore

    return enter


def _check(argv: Sequence[str], env: Mapping[str, str], timeout_ns: int) -> None:
    if not argv or not argv[0]:
        raise InvalidArgument("argv: is empty; a program and its arguments are needed", "argv")
    if any("\0" in one for one in (*argv, *env, *env.values())) or any(not one or "=" in one for one in env):
        raise InvalidArgument("argv, env: no NUL is allowed, nor = in the name of a variable", "argv")
    if timeout_ns <= 0:
        raise InvalidArgument(f"timeout: {timeout_ns} ns is not allowed; more than 0 is", "timeout")


def _signal_number(name: str) -> int:
    known = {one.name: one.value for one in signal.Signals}
    number = known.get(name) or known.get(f"SIG{name}")
    if number is None:
        raise InvalidArgument(f"signal: {name!r} is none; there are {', '.join(known)}", "signal")
    return number


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"  # a real-time signal


def _taken(stream: Any) -> int:
    """The descriptor of a stream, which is ours now, not blocking."""
    descriptor = os.dup(stream.fileno())
    os.set_blocking(descriptor, False)
    stream.close()
    return descriptor
