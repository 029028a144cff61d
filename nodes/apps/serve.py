"""The life of a server: a listener, and one task per connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nodes.apps.base import App
from nodes.apps.sockets import Stream
from nodes.base.errors import SocketError
from nodes.base.tasks import Task, Waiter


async def serve(
    app: App[Any],
    port: int,
    backlog: int,
    options: dict[str, Any],
    limit: int,
    handle: Callable[[Stream], Awaitable[None]],
) -> None:
    """Accept up to `limit` connections (0: no limit), each handled by a task of its own; return when all have ended.

    A connection is closed after `handle`. One that fails does not end the others: when all have ended, the first
    SocketError is raised. Counts go to the app's results `accepted` and `failed`.
    """
    listener = app.listen(port, backlog, options)
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
