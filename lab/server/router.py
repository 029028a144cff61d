"""Forwards calls about a lab to its process, as bytes: only the name in the request is looked at.

Cancellation and deadline go along; status and details come back. For a lab whose process has ended it answers with how.
"""

from __future__ import annotations

import asyncio
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
from lab.server.serving import RAISED, Context, Handler, Handlers, fail, make_handler, parse, path_of
from nodes.base.errors import Cancelled, InvalidArgument

#: A connection breaks a moment before its process is known to have ended, wall seconds.
_NEWS_WITHIN: Final = 5.0


#: What awaiting a call raises when it fails, and when its channel was closed before or meanwhile.
_BROKEN: Final = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError)


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

        async def unary(data: bytes, context: Context) -> Any:
            resource = ""
            try:
                request = parse(request_class, data)
                resource = names.resource_of(request)
                record = self._record(request)
                call = record.calls.get(path)
                if call is None:
                    call = record.calls[path] = record.channel.unary_unary(path)
                try:
                    return await call(data, timeout=_time_left(context))
                except _BROKEN as error:
                    raise await _translated(error, record) from None
            except RAISED:
                raise
            except Exception as error:
                await fail(context, error, resource)

        async def stream(data: bytes, context: Context) -> AsyncIterator[Any]:
            resource = ""
            try:
                request = parse(request_class, data)
                resource = names.resource_of(request)
                record = self._record(request)
                method_: Any = record.channel.unary_stream(path)
                call = method_(data, timeout=_time_left(context))
                try:
                    async for answer in call:
                        yield answer
                except _BROKEN as error:
                    raise await _translated(error, record) from None
                finally:
                    call.cancel()
            except RAISED:
                raise
            except Exception as error:
                await fail(context, error, resource)

        async def both(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            resource = ""
            try:
                first = await anext(requests, b"")
                request = parse(request_class, first)
                resource = names.resource_of(request)
                record = self._record(request)
                method_: Any = record.channel.stream_stream(path)
                call = method_(_after(first, requests), timeout=_time_left(context))
                try:
                    async for answer in call:
                        yield answer
                except _BROKEN as error:
                    raise await _translated(error, record) from None
                finally:
                    call.cancel()
            except RAISED:
                raise
            except Exception as error:
                await fail(context, error, resource)

        return make_handler(method, unary, stream, both)

    def divert(self, handlers: Handlers, of_runs: Handlers, service: ServiceDescriptor, *methods: str) -> None:
        """Let calls of these methods whose parent is a run be answered by `of_runs`, all others as before."""
        for name in methods:
            method = service.methods_by_name[name]
            path = path_of(method)
            handlers.by_method[path] = _diverted(
                handlers.by_method[path], of_runs.by_method[path], message_factory.GetMessageClass(method.input_type)
            )

    def _record(self, request: Message) -> LabRecord:
        """The lab that a request names. Raises InvalidArgument, NotFound, LabFailed."""
        record = self.labs.get(names.parts_of(request)[0])
        record.check()
        return record


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for one in rest:
        yield one


def _diverted(forward: Any, local: Any, request_class: type[Message]) -> Handler:
    async def unary(data: bytes, context: Context) -> Any:
        try:
            of_run = parse(request_class, data).parent.startswith("runs/")
        except InvalidArgument as error:
            await fail(context, error)
            return None
        return await (local if of_run else forward).unary_unary(data, context)

    handler: Handler = grpc.unary_unary_rpc_method_handler(unary)  # type: ignore[arg-type,unused-ignore]
    return handler


def _time_left(context: Context) -> float | None:
    left: float | None = context.time_remaining()  # type: ignore[no-untyped-call,unused-ignore]
    return left if left is not None and math.isfinite(left) else None


async def _translated(error: BaseException, record: LabRecord) -> BaseException:
    """What a failed call comes to: the lab's own status, or what has become of the lab."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # by our caller, not by the end of the channel
            return error
    code, words = grpc.StatusCode.UNAVAILABLE, str(error)
    if isinstance(error, grpc.aio.AioRpcError):
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS_KEY:
                return CallFailed(status_pb2.Status.FromString(value))
        code, words = error.code(), error.details() or ""
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        gone = await record.is_gone(_NEWS_WITHIN)
        if record.ending:
            return Cancelled(f"labs/{record.name} was deleted")
        if gone:
            return LabFailed(f"labs/{record.name} has FAILED: {record.failure}")
    return CallFailed(status_pb2.Status(code=code.value[0], message=words))
