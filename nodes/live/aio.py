"""asyncio's streams over a stack of ours: real StreamReaders and StreamWriters, on asyncio's own transports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

from nodes.live.bsd import Socket
from nodes.live.stack import LiveStack

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(net: LiveStack, host: str, port: int) -> Socket:
    """A connected socket that does not block, such as `loop.create_connection(sock=...)` takes. Raises OSError."""
    one = net.socket(net.family_of(host))
    try:
        one.setblocking(False)
        try:
            one.connect((host, port))
        except BlockingIOError:
            await _writable(one)
            one.connect((host, port))
    except BaseException:
        one.close()
        raise
    return one


async def _writable(one: Socket) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_writer(one.fileno(), tell)
    try:
        await done
    finally:
        loop.remove_writer(one.fileno())


async def open_connection(net: LiveStack, host: str, port: int, **settings: Any) -> Streams:
    """As `asyncio.open_connection`; `settings` (limit, ssl ...) go there. Raises OSError."""
    return await asyncio.open_connection(sock=_as_socket(await connect(net, host, port)), **settings)


async def start_server(
    net: LiveStack,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None],
    host: str,
    port: int,
    *,
    reuse_port: bool | None = None,
    **settings: Any,
) -> asyncio.Server:
    """As `asyncio.start_server`. Raises OSError."""
    one = net.create_server((host, port), reuse_port=bool(reuse_port))
    one.setblocking(False)
    return await asyncio.start_server(serve, sock=_as_socket(one), **settings)


def _as_socket(one: Socket) -> socket.socket:
    """For the type checker: it has what asyncio asks of one."""
    return cast(socket.socket, one)
