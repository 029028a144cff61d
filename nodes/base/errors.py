"""The one exception hierarchy of tcplab.

Every message says what was asked, what was found, and what is allowed. The API layer maps each class
to one canonical gRPC status (lab/server/errors.py); nothing else in the project does.
"""

from __future__ import annotations


class TcplabError(Exception):
    """Base of every error tcplab raises on purpose."""


class InvalidArgument(TcplabError):
    """A value the caller gave cannot be right whatever the state of the lab.

    `field` is the path of the field (`links[2].loss`), empty when there is none.
    `line` is the line in the file it was read from, 0 when unknown.
    """

    def __init__(self, message: str, field: str = "", line: int = 0) -> None:
        super().__init__(message)
        self.field = field
        self.line = line


class NotFound(TcplabError):
    """A named thing (lab, node, link, connection, attack ...) does not exist."""


class AlreadyExists(TcplabError):
    """A name or an address that must be unique is taken."""


class FailedPrecondition(TcplabError):
    """The call is fine but the system is not in a state for it; the message says which state it needs."""


class Unsupported(FailedPrecondition):
    """This backend or kernel cannot do it; the message says what is missing and what works instead."""


class PermissionDenied(TcplabError):
    """Whoever runs this does not allow it; the message says how it is allowed."""


class ResourceExhausted(TcplabError):
    """A bounded thing is full: ports, buffers, queues, file sizes."""


class Cancelled(TcplabError):
    """The operation was cancelled by its owner."""


class SocketError(TcplabError):
    """A TCP user call failed the way a socket call fails.

    `errno_name` is the POSIX name (`ECONNRESET`, `EPIPE` ...); `words` are RFC 9293's, section 3.9.1 / 3.10,
    where it has them (`connection reset`).
    """

    def __init__(self, errno_name: str, words: str) -> None:
        super().__init__(f"{errno_name}: {words}")
        self.errno_name = errno_name
        self.words = words
