"""What the node's sockets tell whoever follows the states of its connections."""

from __future__ import annotations

from typing import Protocol

from nodes.kernel.connections import Connection, Key


class CallWatch(Protocol):
    """Follows connections; instants are ns of lab time."""

    def catch_up(self) -> None:
        """Take in all that has happened up to now."""

    def opened(self, now: int, key: Key) -> Connection:
        """A connection was opened actively."""

    def met(self, key: Key, origin: int) -> Connection:
        """There is a connection whose beginning was not seen."""

    def before_close(self, connection: Connection, cause: int) -> None:
        """SHUTDOWN, CLOSE or ABORT is about to be called; the cause says which, or what it amounts to."""

    def closed(self, connection: Connection, cause: int) -> None:
        """It was called."""
