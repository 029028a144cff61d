"""Values that cross a line between processes: dataclasses as mappings, errors by the name of their class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from nodes.base import errors
from nodes.base.errors import FailedPrecondition, InvalidArgument, SocketError, TcplabError

_ERRORS: Final[dict[str, type[TcplabError]]] = {
    name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, TcplabError)
}


def plain(value: Any) -> Any:
    """A value of None, bool, int, str, bytes, sequences, mappings and dataclasses, as MessagePack can carry it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def plain_error(error: BaseException) -> dict[str, Any]:
    """An error as it crosses; one that is not ours crosses as FailedPrecondition with its class in the words."""
    if isinstance(error, InvalidArgument):
        return {"class": "InvalidArgument", "message": str(error), "field": error.field, "line": error.line}
    if isinstance(error, SocketError):
        return {"class": "SocketError", "errno_name": error.errno_name, "words": error.words}
    if isinstance(error, (TcplabError, TimeoutError)):
        return {"class": type(error).__name__, "message": str(error)}
    return {"class": "FailedPrecondition", "message": f"{type(error).__name__}: {error}"}


def error_of(said: Mapping[str, Any]) -> Exception:
    """The error that `plain_error` described."""
    name = said["class"]
    if name == "InvalidArgument":
        return InvalidArgument(said["message"], said["field"], said["line"])
    if name == "SocketError":
        return SocketError(said["errno_name"], said["words"])
    if name == "TimeoutError":
        return TimeoutError(said["message"])
    return _ERRORS.get(name, FailedPrecondition)(said["message"])
