"""The kernel's errors in the words of RFC 9293, where it has them."""

from __future__ import annotations

import errno
import os
from typing import Final

from nodes.base import causes
from nodes.base.errors import SocketError

#: As `nodes.tcp` has them.
_CAUSES: Final = {
    errno.ECONNRESET: causes.ERROR_RESET,
    errno.ECONNREFUSED: causes.ERROR_REFUSED,
    errno.ECONNABORTED: causes.ERROR_RESET,
    errno.ETIMEDOUT: causes.ERROR_TIMED_OUT,
    errno.ENETUNREACH: causes.ERROR_NO_ROUTE,
    errno.EHOSTUNREACH: causes.ERROR_NO_ROUTE,
    errno.EPIPE: causes.ERROR_CLOSING,
    errno.ENOTCONN: causes.ERROR_DOES_NOT_EXIST,
    errno.EBADF: causes.ERROR_DOES_NOT_EXIST,
    errno.EADDRINUSE: causes.ERROR_ALREADY_EXISTS,
}


def socket_error(error: OSError) -> SocketError:
    """An OSError of a socket call."""
    number = error.errno or 0
    return SocketError(errno_name(number), words_of(number))


def errno_name(number: int) -> str:
    """`ECONNRESET`; "" for 0."""
    return errno.errorcode.get(number, f"E{number}") if number else ""


def words_of(number: int) -> str:
    """What it means."""
    cause = _CAUSES.get(number)
    return causes.CAUSES[cause].words if cause else os.strerror(number).lower()
