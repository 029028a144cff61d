"""Calls for asyncio, with typed errors. Its twin for threads is tcplab/client/sync/rpc.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

import grpc

from tcplab.client.channel import OPTIONS, Target
from tcplab.client.errors import from_rpc
from tcplab.client.process import PrivateController
from tcplab.v1 import (
    app_pb2_grpc,
    attack_pb2_grpc,
    backend_pb2_grpc,
    lab_pb2_grpc,
    link_pb2_grpc,
    node_pb2_grpc,
    operation_pb2_grpc,
    run_pb2_grpc,
    tcp_pb2_grpc,
    trace_pb2_grpc,
)

Q = TypeVar("Q")
A = TypeVar("A")

Lock = asyncio.Lock


class Rpc:
    """A channel and the services behind it."""

    def __init__(self, target: Target) -> None:
        credentials = target.credentials()
        self._metadata = target.metadata
        self._deadline = target.deadline
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target.address, OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target.address, credentials, OPTIONS)
        self.labs = lab_pb2_grpc.LabServiceStub(self._channel)
        self.backends = backend_pb2_grpc.BackendServiceStub(self._channel)
        self.links = link_pb2_grpc.LinkServiceStub(self._channel)
        self.nodes = node_pb2_grpc.NodeServiceStub(self._channel)
        self.tcp = tcp_pb2_grpc.TcpServiceStub(self._channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(self._channel)
        self.apps = app_pb2_grpc.AppServiceStub(self._channel)
        self.attacks = attack_pb2_grpc.AttackServiceStub(self._channel)
        self.traces = trace_pb2_grpc.TraceServiceStub(self._channel)
        self.experiments = run_pb2_grpc.ExperimentServiceStub(self._channel)
        self.runs = run_pb2_grpc.RunServiceStub(self._channel)

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, deadline: float | None = None
    ) -> A:
        """One call, of at most `deadline` wall seconds. Raises Error."""
        try:
            return await method(request, metadata=self._metadata, timeout=deadline or self._deadline)
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    async def pages(self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q) -> AsyncIterator[A]:
        """Every page of a list."""
        while True:
            page: Any = await self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            cast(Any, request).page_token = page.next_page_token

    async def stream(self, method: grpc.aio.UnaryStreamMultiCallable[Q, A], request: Q) -> AsyncIterator[A]:
        """The answers of a streaming call; leaving the loop cancels it. Raises Error."""
        call = method(request, metadata=self._metadata)
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        finally:
            call.cancel()

    def exchange(self, method: Any) -> Exchange:
        """Begin a call that streams both ways."""
        requests: asyncio.Queue[Any] = asyncio.Queue()
        return Exchange(requests, method(_until_none(requests), metadata=self._metadata))

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class Exchange:
    """A call that streams both ways. All raise Error."""

    def __init__(self, requests: asyncio.Queue[Any], call: Any) -> None:
        self._requests = requests
        self._call = call
        self._answers = aiter(call)

    async def send(self, request: Any) -> None:
        """Send one message; nothing happens when the call has ended."""
        self._requests.put_nowait(request)

    async def end(self) -> None:
        """Nothing more will be sent."""
        self._requests.put_nowait(None)

    async def receive(self) -> Any:
        """The next message; None when there are no more."""
        try:
            return await anext(self._answers, None)
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    async def close(self) -> None:
        """Cancel the call if it goes on."""
        self._requests.put_nowait(None)
        self._call.cancel()


async def _until_none(requests: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (request := await requests.get()) is not None:
        yield request


async def start_private(runs: str | None) -> PrivateController:
    """A controller of one's own."""
    return await asyncio.to_thread(PrivateController, runs)


async def stop_private(controller: PrivateController) -> None:
    """End it."""
    await asyncio.to_thread(controller.stop)


async def each(tasks: Iterable[Callable[[], Awaitable[A]]], at_once: int) -> list[A]:
    """The results of the calls, in their order, so many at a time. The first error cancels the others."""
    turn = asyncio.Semaphore(at_once)

    async def one(task: Callable[[], Awaitable[A]]) -> A:
        async with turn:
            return await task()

    try:
        async with asyncio.TaskGroup() as group:
            started = [group.create_task(one(task)) for task in tasks]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in started]
