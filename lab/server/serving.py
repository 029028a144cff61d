"""Servicers as gRPC handlers: errors become statuses, plain methods are called as they are, in the loop's thread."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from lab.server import names
from lab.server.errors import DETAILS_KEY, code_by_number, status_of
from nodes.base.errors import InvalidArgument

#: Payloads and topologies come whole; whatever is larger is refused before it is read.
MAX_MESSAGE_BYTES: Final = 64 << 20
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
#: What a call raises that was ended with a status already.
RAISED: Final = grpc.aio.AbortError


class Handlers(grpc.GenericRpcHandler):
    """Handlers by the full names of their methods (`/tcplab.v1.LabService/GetLab`)."""

    def __init__(self) -> None:
        self.by_method: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        return self.by_method.get(handler_call_details.method)

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Serve the methods of a service that the servicer has."""
        for method in service.methods:
            call = getattr(servicer, method.name, None)
            if call is not None:
                self.by_method[path_of(method)] = _handler(method, call)


def path_of(method: MethodDescriptor) -> str:
    """How calls name a method."""
    return f"/{method.containing_service.full_name}/{method.name}"


async def fail(context: Context, error: BaseException, resource: str = "") -> None:
    """End a call with the status of an error."""
    status = status_of(error, resource)
    await context.abort(code_by_number(status.code), status.message, ((DETAILS_KEY, status.SerializeToString()),))


def parse(request_class: type[Message], data: bytes) -> Any:
    """The message of a request. Raises InvalidArgument."""
    try:
        return request_class.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(f"the request is no {request_class.__name__}: {error}") from None


def _handler(method: MethodDescriptor, call: Callable[[Any, Any], Any]) -> Handler:
    request_class = message_factory.GetMessageClass(method.input_type)

    async def unary(data: bytes, context: Context) -> bytes | None:
        resource = ""
        try:
            request = parse(request_class, data)
            resource = names.resource_of(request)
            answer = call(request, context)
            message: Message = await answer if inspect.isawaitable(answer) else answer
            return message.SerializeToString()
        except RAISED:
            raise
        except Exception as error:
            await fail(context, error, resource)
            return None

    async def stream(data: bytes, context: Context) -> AsyncIterator[bytes]:
        resource = ""
        try:
            request = parse(request_class, data)
            resource = names.resource_of(request)
            async for answer in call(request, context):
                yield answer.SerializeToString()
        except RAISED:
            raise
        except Exception as error:
            await fail(context, error, resource)

    async def both(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        resource = ""

        async def parsed() -> AsyncIterator[Any]:
            nonlocal resource
            async for data in requests:
                request = parse(request_class, data)
                resource = resource or names.resource_of(request)
                yield request

        try:
            async for answer in call(parsed(), context):
                yield answer.SerializeToString()
        except RAISED:
            raise
        except Exception as error:
            await fail(context, error, resource)

    return make_handler(method, unary, stream, both)


def make_handler(
    method: MethodDescriptor,
    unary: Callable[[bytes, Context], Any],
    stream: Callable[[bytes, Context], AsyncIterator[Any]],
    both: Callable[[AsyncIterator[bytes], Context], AsyncIterator[Any]],
) -> Handler:
    """A handler of serialized messages: the one of these that fits the method; `both` for streams both ways."""
    # The types of grpc's stubs are those of its threaded server.
    make: Any
    call: Callable[[Any, Context], Any]
    if method.client_streaming:
        make, call = grpc.stream_stream_rpc_method_handler, both
    elif method.server_streaming:
        make, call = grpc.unary_stream_rpc_method_handler, stream
    else:
        make, call = grpc.unary_unary_rpc_method_handler, unary
    handler: Handler = make(call)
    return handler
