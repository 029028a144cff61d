"""Runs of experiments, and their files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from tcplab.client.aio.rpc import Rpc
from tcplab.v1 import run_pb2


class Run:
    """A run; `message` is what was last known of it."""

    def __init__(self, rpc: Rpc, message: run_pb2.Run) -> None:
        self._rpc = rpc
        self.message = message

    @property
    def name(self) -> str:
        """Its name without the prefix."""
        return self.message.name.rpartition("/")[2]

    @property
    def state(self) -> str:
        """RUNNING, PASSED, FAILED (an expectation did not hold), ERROR or CANCELLED, as last known."""
        return run_pb2.Run.State.Name(self.message.state).removeprefix("STATE_")

    @property
    def passed(self) -> bool:
        """Whether it has ended and every expectation held, as last known."""
        return self.message.state == run_pb2.Run.STATE_PASSED

    async def refresh(self) -> run_pb2.Run:
        """What has become of it, asked now."""
        self.message = await self._rpc.call(self._rpc.runs.GetRun, run_pb2.GetRunRequest(name=self.message.name))
        return self.message

    async def watch(self) -> AsyncIterator[run_pb2.Run]:
        """The run as it is, then after every change, until it has ended."""
        request = run_pb2.WatchRunRequest(name=self.message.name)
        async for message in self._rpc.stream(self._rpc.runs.WatchRun, request):
            self.message = message
            yield message

    async def wait(self) -> run_pb2.Run:
        """Wait, in wall time, until it has ended."""
        async for _ in self.watch():
            pass
        return self.message

    async def files(self) -> list[run_pb2.File]:
        """Its files."""
        answer = await self._rpc.call(self._rpc.runs.ListFiles, run_pb2.ListFilesRequest(parent=self.message.name))
        return list(answer.files)

    async def read(self, path: str) -> bytes:
        """One of its files."""
        request = run_pb2.ReadFileRequest(run=self.message.name, path=path)
        pieces = [answer.data async for answer in self._rpc.stream(self._rpc.runs.ReadFile, request)]
        return b"".join(pieces)

    async def save(self, directory: Path | str) -> None:
        """Copy its files into a directory here."""
        for file in await self.files():
            target = Path(directory) / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(await self.read(file.path))

    async def delete(self) -> None:
        """Cancel it if it goes on, and delete its files."""
        await self._rpc.call(self._rpc.runs.DeleteRun, run_pb2.DeleteRunRequest(name=self.message.name))

    def __repr__(self) -> str:
        return f"<run {self.name}: {self.state}>"
