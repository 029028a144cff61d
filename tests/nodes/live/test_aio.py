"""asyncio over live stacks: streams, a server, a small HTTP client."""

from __future__ import annotations

import asyncio
import os

import pytest

from nodes.live import aio
from tests.nodes.live.pair import live_pair


async def fetch(streams: aio.Streams, path: str) -> tuple[int, bytes]:
    """GET over streams of asyncio, whoever made them; status and body."""
    reader, writer = streams
    writer.write(f"GET {path} HTTP/1.1\r\nHost: tested\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    length = 0
    while line := (await reader.readline()).strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = await reader.readexactly(length)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return status, body


def test_an_http_client_and_a_server_of_many_connections() -> None:
    bodies = {f"/{number}": os.urandom(30_000 * number) for number in range(8)}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        body = bodies[path]
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await aio.start_server(h2, serve, "", 80, reuse_port=True)
        with pytest.raises(OSError, match="in use"):
            await aio.start_server(h2, serve, "", 80)
        async with server, await aio.start_server(h2, serve, "", 80, reuse_port=True):

            async def get(path: str) -> tuple[int, bytes]:
                return await fetch(await aio.open_connection(h1, "h2", 80), path)

            answers = await asyncio.gather(*map(get, bodies))
        assert answers == [(200, body) for body in bodies.values()]

    with live_pair() as (h1, h2):
        asyncio.run(main())


def test_half_close_and_what_the_streams_know_of_their_ends() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert writer.get_extra_info("peername")[0] == "10.0.0.1"
        writer.write(await reader.read())
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await aio.start_server(h2, echo, "10.0.0.2", 7):
            reader, writer = await aio.open_connection(h1, "10.0.0.2", 7)
            assert writer.get_extra_info("peername") == ("10.0.0.2", 7)
            data = os.urandom(1_000_000)
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data
            writer.close()
            await writer.wait_closed()

    with live_pair() as (h1, h2):
        asyncio.run(main())


def test_refused_and_reset() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await aio.open_connection(h1, "h2", 80)
        with h2.create_server(("", 80)) as server:
            reader, writer = await aio.open_connection(h1, "h2", 80)
            accepted, _ = await asyncio.to_thread(server.accept)
            writer.write(b"unread")
            await writer.drain()
            await asyncio.to_thread(accepted.recv, 1)
            accepted.close()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    with live_pair() as (h1, h2):
        asyncio.run(main())
