"""Every error as one canonical gRPC status with google.rpc details; nothing reaches a client as UNKNOWN.

InvalidArgument      INVALID_ARGUMENT     BadRequest: the field
NotFound             NOT_FOUND            ResourceInfo: the resource that was named
AlreadyExists        ALREADY_EXISTS       ResourceInfo
FailedPrecondition   FAILED_PRECONDITION  PreconditionFailure; ErrorInfo UNSUPPORTED for Unsupported
SocketError          FAILED_PRECONDITION  ErrorInfo: the reason is the errno name, `words` RFC 9293's;
                     UNAVAILABLE          when nobody was reached: refused, unreachable, timed out by TCP
PermissionDenied     PERMISSION_DENIED
ResourceExhausted    RESOURCE_EXHAUSTED
Cancelled            CANCELLED
TimeoutError         DEADLINE_EXCEEDED    an operation's own timeout, in lab time
anything else        INTERNAL             with its type and message; the traceback is logged
"""

from __future__ import annotations

import logging
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from nodes.base.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SocketError,
    TcplabError,
    Unsupported,
)

DOMAIN: Final = "tcplab"
#: Where gRPC carries a google.rpc.Status beside its own.
DETAILS_KEY: Final = "grpc-status-details-bin"
#: Bytes of a message that are kept: it goes twice into trailing metadata, which are bounded (8 KiB by default).
MAX_MESSAGE: Final = 1000

_CODE_BY_NUMBER: Final = {int(code.value[0]): code for code in grpc.StatusCode}
_CODES: Final[tuple[tuple[type[BaseException], grpc.StatusCode], ...]] = (
    (InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (FailedPrecondition, grpc.StatusCode.FAILED_PRECONDITION),
    (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (ResourceExhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Cancelled, grpc.StatusCode.CANCELLED),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
)
_UNREACHED: Final = ("ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH")

log = logging.getLogger("tcplab")


class CallFailed(Exception):
    """A status that is complete already: that of another process, or one with details of its own."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


class OutOfRange(TcplabError):
    """A position past the end of something."""


class LabFailed(FailedPrecondition):
    """The lab's process has ended; the message says how."""


def code_of(error: BaseException) -> grpc.StatusCode:
    """The canonical code of an error."""
    if isinstance(error, SocketError):
        unreached = error.errno_name in _UNREACHED
        return grpc.StatusCode.UNAVAILABLE if unreached else grpc.StatusCode.FAILED_PRECONDITION
    if isinstance(error, OutOfRange):
        return grpc.StatusCode.OUT_OF_RANGE
    return next((code for cls, code in _CODES if isinstance(error, cls)), grpc.StatusCode.INTERNAL)


def status_of(error: BaseException, resource: str = "") -> status_pb2.Status:
    """The status of an error; `resource` is the name that the request gave."""
    if isinstance(error, CallFailed):
        return error.status
    code = code_of(error)
    message = str(error)
    if code == grpc.StatusCode.INTERNAL:
        log.error("%s", message, exc_info=error)
        message = f"{type(error).__name__}: {message}"
    if len(message.encode("utf-8", "replace")) > MAX_MESSAGE:
        message = message.encode("utf-8", "replace")[:MAX_MESSAGE].decode("utf-8", "ignore") + " ..."
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in _details(error, message, resource):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _details(error: BaseException, message: str, resource: str) -> list[Message]:
    details: list[Message] = []
    if isinstance(error, InvalidArgument):
        if error.field:
            bad = error_details_pb2.BadRequest()
            bad.field_violations.add(field=error.field[:200], description=message)
            details.append(bad)
        if error.line:
            details.append(_info("INVALID_FILE", line=str(error.line)))
    elif isinstance(error, SocketError):
        details.append(_info(error.errno_name, words=error.words))
    elif isinstance(error, (NotFound, AlreadyExists)) and resource:
        details.append(
            error_details_pb2.ResourceInfo(
                resource_type=f"{DOMAIN}/{_type_of(resource)}", resource_name=resource[:200], description=message
            )
        )
    elif isinstance(error, FailedPrecondition):
        failure = error_details_pb2.PreconditionFailure()
        kind = "LAB_FAILED" if isinstance(error, LabFailed) else "STATE"
        failure.violations.add(type=kind, subject=resource[:200], description=message)
        details.append(failure)
        if isinstance(error, LabFailed):
            details.append(_info("LAB_FAILED"))
        elif isinstance(error, Unsupported):
            details.append(_info("UNSUPPORTED"))
    return details


def _info(reason: str, **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)


def _type_of(resource: str) -> str:
    """`connection` of labs/x/nodes/h1/connections/3."""
    parts = resource.split("/")
    return parts[-2].removesuffix("s") if len(parts) > 1 else "resource"


def code_by_number(number: int) -> grpc.StatusCode:
    """The code with that number; UNKNOWN for one that is none."""
    return _CODE_BY_NUMBER.get(number, grpc.StatusCode.UNKNOWN)
