# Made by tools/sync_client.py from tcplab/client/aio/command.py: change it there.
"""Commands on nodes."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

from google.protobuf import empty_pb2

from tcplab.client.completed import Completed
from tcplab.client.sync.rpc import Exchange
from tcplab.v1 import node_pb2

#: The most of standard input in one message, bytes.
_PIECE: Final = 1 << 18


class Command:
    """A command that runs on a node. As a context it is killed at the end if it still runs."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._exit: Completed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def write(self, data: bytes) -> None:
        """Bytes for its standard input."""
        for start in range(0, len(data), _PIECE):
            self._exchange.send(node_pb2.ExecRequest(stdin=data[start : start + _PIECE]))

    def end_input(self) -> None:
        """Its standard input ends."""
        self._exchange.send(node_pb2.ExecRequest(stdin_end=empty_pb2.Empty()))

    def signal(self, name: str) -> None:
        """Send it a signal: TERM, INT, KILL ..."""
        self._exchange.send(node_pb2.ExecRequest(signal=name))

    def output(self) -> Iterator[tuple[str, bytes]]:
        """What it prints as it comes, each piece with `stdout` or `stderr`, until it ends."""
        while self._exit is None:
            answer = self._exchange.receive()
            if answer is None:
                return
            kind = answer.WhichOneof("response")
            if kind == "exit":
                self._exit = Completed(answer.exit.code, answer.exit.signal, answer.exit.timed_out)
                self._exchange.end()
            elif kind != "started":
                yield kind, getattr(answer, kind)

    def wait(self) -> Completed:
        """Read what it prints until it ends; how it did, with what was read here."""
        said = {"stdout": bytearray(), "stderr": bytearray()}
        for stream, data in self.output():
            said[stream] += data
        assert self._exit is not None
        return Completed(
            self._exit.code, self._exit.signal, self._exit.timed_out, bytes(said["stdout"]), bytes(said["stderr"])
        )

    def kill(self) -> None:
        """End it at once. Idempotent."""
        self._exchange.close()
