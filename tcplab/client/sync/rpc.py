"""Calls that block their thread, with typed errors: the twin of tcplab/client/aio/rpc.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
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

Lock = threading.Lock


class Rpc:
    """A channel and the services behind it."""

    def __init__(self, target: Target) -> None:
        credentials = target.credentials()
        self._metadata = target.metadata
        self._deadline = target.deadline
        if credentials is None:
            self._channel = grpc.insecure_channel(target.address, OPTIONS)
        else:
            self._channel = grpc.secure_channel(target.address, credentials, OPTIONS)
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

    def call(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, deadline: float | None = None) -> A:
        """One call, of at most `deadline` wall seconds. Raises Error."""
        try:
            return method(request, metadata=self._metadata, timeout=deadline or self._deadline)
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def pages(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q) -> Iterator[A]:
        """Every page of a list."""
        while True:
            page: Any = self.call(method, request)
            yield page
            if not page.next_page_token:
                return
            cast(Any, request).page_token = page.next_page_token

    def stream(self, method: grpc.UnaryStreamMultiCallable[Q, A], request: Q) -> Iterator[A]:
        """The answers of a streaming call; leaving the loop cancels it. Raises Error."""
        call = method(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        finally:
            call.cancel()

    def exchange(self, method: Any) -> Exchange:
        """Begin a call that streams both ways."""
        requests: SimpleQueue[Any] = SimpleQueue()
        return Exchange(requests, method(iter(requests.get, None), metadata=self._metadata))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class Exchange:
    """A call that streams both ways. All raise Error."""

    def __init__(self, requests: SimpleQueue[Any], call: Any) -> None:
        self._requests = requests
        self._call = call

    def send(self, request: Any) -> None:
        """Send one message; nothing happens when the call has ended."""
        self._requests.put(request)

    def end(self) -> None:
        """Nothing more will be sent."""
        self._requests.put(None)

    def receive(self) -> Any:
        """The next message; None when there are no more."""
        try:
            return next(self._call, None)
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def close(self) -> None:
        """Cancel the call if it goes on."""
        self._requests.put(None)
        self._call.cancel()


def start_private(runs: str | None) -> PrivateController:
    """A controller of one's own."""
    return PrivateController(runs)


def stop_private(controller: PrivateController) -> None:
    """End it."""
    controller.stop()


def each(tasks: Iterable[Callable[[], A]], at_once: int) -> list[A]:
    """The results of the calls, in their order, so many at a time. The first error keeps the rest from starting."""
    with ThreadPoolExecutor(at_once) as pool:
        started = [pool.submit(task) for task in tasks]
        try:
            return [one.result() for one in started]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
