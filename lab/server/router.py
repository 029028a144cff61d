"""Forwards calls about a lab to its process, as bytes: only the name in the request is looked at.

Cancellation and deadline go along; status and details come back. For a lab whose process has ended it answers with how.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2

from lab.server import names
from lab.server.errors import DETAILS_KEY, CallFailed, LabFailed
from lab.server.labs import LabRecord, Labs
from lab.server.serving import RAISED, Context, Handler, Handlers, fail, path_of
from nodes.base.errors import Cancelled

#: A connection breaks a moment before its process is known to have ended, wall seconds.
_NEWS_WITHIN: Final = 5.0


class Router:
    """Makes handlers that forward."""

    def __init__(self, labs: Labs) -> None:
        self.labs = labs

    def add_to(self, handlers: Handlers, service: ServiceDescriptor) -> None:
        """Forward every method of a service that has no handler yet."""
        for method in service.methods:
            handlers.by_method.setdefault(path_of(method), self._handler(method))

    def _handler(self, method: MethodDescriptor) -> Handler:
        request_class = message_factory.GetMessageClass(method.input_type)
        path = path_of(method)

        def read(data: bytes) -> tuple[bytes, Message]:
            return data, request_class.FromString(data)

        async def unary(given: tuple[bytes, Message], context: Context) -> Any:
            data, request = given
            try:
                record = self._record(request)
                call = record.calls.get(path)
                if call is None:
                    call = record.calls[path] = record.channel.unary_unary(path)
                try:
                    return await call(data, timeout=_time_left(context))
                except grpc.aio.AioRpcError as error:
                    raise await _translated(error, record) from None
            except RAISED:
                raise
            except Exception as error:
                return await fail(context, error, names.resource_of(request))

        async def stream(given: tuple[bytes, Message], context: Context) -> AsyncIterator[Any]:
            data, request = given
            try:
                record = self._record(request)
                method_: Any = record.channel.unary_stream(path)
                call = method_(data, timeout=_time_left(context))
                try:
                    async for answer in call:
                        yield answer
                except grpc.aio.AioRpcError as error:
                    raise await _translated(error, record) from None
                finally:
                    call.cancel()
            except RAISED:
                raise
            except Exception as error:
                await fail(context, error, names.resource_of(request))

        make: Any = grpc.unary_stream_rpc_method_handler if method.server_streaming else (
            grpc.unary_unary_rpc_method_handler)
        handler: Handler = make(stream if method.server_streaming else unary, read)
        return handler

    def divert(self, handlers: Handlers, of_runs: Handlers, *methods: str) -> None:
        """Let calls of these methods whose parent is a run be answered by `of_runs`, all others as before."""
        for path, local in of_runs.by_method.items():
            if path.rpartition("/")[2] in methods:
                handlers.by_method[path] = _diverted(handlers.by_method[path], local)

    def _record(self, request: Message) -> LabRecord:
        """The lab that a request names. Raises InvalidArgument, NotFound, LabFailed."""
        record = self.labs.get(names.parts_of(request)[0])
        record.check()
        return record


def _diverted(forward: Any, local: Any) -> Handler:
    async def unary(given: tuple[bytes, Any], context: Context) -> Any:
        _, request = given
        if request.parent.startswith("runs/"):
            answer = await local.unary_unary(request, context)
            return None if answer is None else local.response_serializer(answer)
        return await forward.unary_unary(given, context)

    make: Any = grpc.unary_unary_rpc_method_handler
    handler: Handler = make(unary, forward.request_deserializer)
    return handler


def _time_left(context: Context) -> float | None:
    left: float | None = context.time_remaining()  # type: ignore[no-untyped-call,unused-ignore]
    return left if left is not None and math.isfinite(left) else None


async def _translated(error: grpc.aio.AioRpcError, record: LabRecord) -> Exception:
    """What a failed call comes to: the lab's own status, or what has become of the lab."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return CallFailed(status_pb2.Status.FromString(value))
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        gone = await record.is_gone(_NEWS_WITHIN)
        if record.ending:
            return Cancelled(f"labs/{record.name} was deleted")
        if gone:
            return LabFailed(f"labs/{record.name} has FAILED: {record.failure}")
    return CallFailed(status_pb2.Status(code=error.code().value[0], message=error.details() or ""))
