"""A line between a lab's process and one of its members: a stream socket of MessagePack mappings, both ways.

to a member      {"id", "call", "args"}   make a call that it offers       {"cancel": id}   give a call up
                 {"records"}              events of others that it asked for   {"end": true}
from a member    {"id", "value"} or {"id", "error"}    what came of a call
                 {"records"}              its events       {"subscribe": [kinds]}
                 {"say": word, ...}       anything else, by its word
"""

from __future__ import annotations

import socket
from typing import Any, Final

import msgpack

Message = dict[str, Any]

#: The most one message may hold.
MAX_MESSAGE: Final = 1 << 28
_CHUNK: Final = 1 << 18


def pack(message: Message) -> bytes:
    """A message as bytes of the line."""
    data: bytes = msgpack.packb(message)
    return data


class LineReader:
    """Takes what has come on a line, without waiting."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._unpacker = msgpack.Unpacker(max_buffer_size=MAX_MESSAGE, strict_map_key=False)
        self.ended = False

    def read(self) -> list[Message]:
        """Complete messages; none when there is none yet. `ended` tells that no more will come."""
        while True:
            try:
                data = self._line.recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
                break
            self._unpacker.feed(data)
            if len(data) < _CHUNK:
                break
        return list(self._unpacker)
