"""What calls raise: one class for each way to fail, with the field, the errno name and the server's words."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from tcplab.v1 import operation_pb2

_DETAILS_KEY: Final = "grpc-status-details-bin"


class Error(Exception):
    """Base of all. `code` is the canonical gRPC code's name, `errno_name` a POSIX name (`ECONNRESET`) or "".

    `fields` maps the path of each field of the request that is wrong to what is wrong with it; `field` is the first
    path, or "". `reason` and `metadata` are those of the server's ErrorInfo.
    """

    code = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        fields: dict[str, str] | None = None,
        errno_name: str = "",
        reason: str = "",
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.fields = fields or {}
        self.errno_name = errno_name
        self.reason = reason
        self.metadata = metadata or {}

    @property
    def field(self) -> str:
        """Path of the first field that is wrong (`links[2].loss`), or ""."""
        return next(iter(self.fields), "")


class InvalidArgument(Error):
    """A value cannot be right, whatever the state of the lab."""

    code = "INVALID_ARGUMENT"


class NotFound(Error):
    """What was named does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(Error):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(Error):
    """The call is fine, but not now; the message says what it needs."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(Error):
    """A bounded thing is full, or a message too large."""

    code = "RESOURCE_EXHAUSTED"


class OutOfRange(Error):
    """A position past the end."""

    code = "OUT_OF_RANGE"


class Aborted(Error):
    """Somebody else was faster."""

    code = "ABORTED"


class Cancelled(Error):
    """The call or operation was cancelled."""

    code = "CANCELLED"


class Timeout(Error, TimeoutError):
    """A time limit has passed: an operation's own, in lab time, or a call's deadline, in wall time."""

    code = "DEADLINE_EXCEEDED"


class Unavailable(Error):
    """The controller, or the lab's process, cannot be reached."""

    code = "UNAVAILABLE"


class Unauthenticated(Error):
    """The controller wants a token, or another one."""

    code = "UNAUTHENTICATED"


class PermissionDenied(Error):
    """The token, or whoever started the controller, does not allow it."""

    code = "PERMISSION_DENIED"


class Unimplemented(Error):
    """The controller is older than this client."""

    code = "UNIMPLEMENTED"


class InternalError(Error):
    """A fault of the controller."""

    code = "INTERNAL"


class SocketError(Error):
    """TCP refused a call, or a connection failed, as a socket call fails: `errno_name` is always there."""

    code = "FAILED_PRECONDITION"  # UNAVAILABLE when nobody was reached


_CLASSES: Final[dict[str, type[Error]]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        ResourceExhausted,
        OutOfRange,
        Aborted,
        Cancelled,
        Timeout,
        Unavailable,
        Unauthenticated,
        PermissionDenied,
        Unimplemented,
        InternalError,
    )
}


def from_rpc(error: grpc.RpcError) -> Error:
    """The typed form of what a call of grpc raised."""
    call: Any = error
    code = call.code().name
    fields: dict[str, str] = {}
    info = error_details_pb2.ErrorInfo()
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                bad = error_details_pb2.BadRequest()
                if detail.Unpack(bad):
                    fields.update({one.field: one.description for one in bad.field_violations})
                detail.Unpack(info)
    return make(code, call.details() or code, fields=fields, reason=info.reason, metadata=dict(info.metadata))


def from_operation(error: operation_pb2.OperationError) -> Error:
    """The typed form of why an operation failed."""
    return make(error.code, error.message, reason=error.errno)


def make(
    code: str,
    message: str,
    *,
    fields: dict[str, str] | None = None,
    reason: str = "",
    metadata: dict[str, str] | None = None,
) -> Error:
    """The exception for a canonical code; a `reason` that is an errno name makes it a SocketError."""
    if reason.startswith("E") and reason.isalnum() and reason.isupper() and code != Timeout.code:
        error: Error = SocketError(message, fields=fields, errno_name=reason, reason=reason, metadata=metadata)
    else:
        error = _CLASSES.get(code, Error)(message, fields=fields, reason=reason, metadata=metadata)
    error.code = code
    return error
