"""What a process of a lab or run and the controller say to each other: JSON objects, each with its length before it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any, Final

_LENGTH: Final = struct.Struct("<I")


def pack(message: dict[str, Any]) -> bytes:
    data = json.dumps(message).encode()
    return _LENGTH.pack(len(data)) + data


def send(line: socket.socket, message: dict[str, Any]) -> None:
    """For a child. Raises OSError when the controller is gone."""
    line.sendall(pack(message))


def receive(line: socket.socket) -> dict[str, Any] | None:
    """For a child: the next message; None when the controller is gone."""
    head = _exactly(line, _LENGTH.size)
    body = _exactly(line, _LENGTH.unpack(head)[0]) if head else b""
    return json.loads(body) if body else None


async def read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message, for whoever has a loop; None when the other side is gone."""
    try:
        length = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
        message: dict[str, Any] = json.loads(await reader.readexactly(length))
        return message
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return None


def _exactly(line: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = line.recv(length - len(data))
        if not part:
            return b""
        data += part
    return data
