"""The life of a server: a listener, and one task per connection; and the settings all of them have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.sockets import Stream
from nodes.base.errors import SocketError
from nodes.base.tasks import Task, Waiter


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where to listen."""

    port: int = setting(5001, "Port to listen on.")
    connections: int = setting(1, "End after this many connections; 0: never.")
    backlog: int = setting(128, "Connections that may wait to be accepted.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("connections", self.connections, 0, 1 << 31)
        check_range("backlog", self.backlog, 0, 1 << 31)


async def serve(app: App[Any], settings: ServerSettings, handle: Callable[[Stream], Awaitable[None]]) -> None:
    """Accept up to `connections` of them, each handled by a task of its own; return when all have ended.

    A connection is closed after `handle`. One that fails does not end the others: when all have ended, the first
    SocketError is raised. Counts go to the app's results `accepted` and `failed`.
    """
    limit = settings.connections
    listener = app.listen(settings.port, settings.backlog, settings.options)
    tasks: list[Task] = []
    idle: Waiter[None] | None = None
    errors: list[SocketError] = []
    running = 0

    async def one(socket: Stream) -> None:
        try:
            await handle(socket)
        except SocketError as error:
            errors.append(error)
            app.count("failed")
        finally:
            socket.release()

    def ended(_: Task) -> None:
        nonlocal running
        running -= 1
        if running == 0 and idle is not None:
            idle.succeed(None)

    try:
        while limit == 0 or len(app.connections) < limit:
            socket = await listener.accept()
            app.hold(socket)
            app.count("accepted")
            running += 1
            task = app.sockets.runner.spawn(app.order, f"{app.name}/{socket.number}", one(socket))
            tasks.append(task)
            task.on_done(ended)
        listener.release()
        if running:
            idle = Waiter(f"the connections of {app.name}")
            await idle
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        if task.error is not None:
            raise task.error
    if errors:
        raise errors[0]
