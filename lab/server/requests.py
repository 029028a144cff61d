"""request_id: a Create call that is repeated within an hour does not create again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from nodes.base.errors import InvalidArgument

REMEMBERED_S: Final = 3600.0
MAX_ID: Final = 128

T = TypeVar("T")


class Requests(Generic[T]):
    """The Create calls of one kind by their request_id, while they go on and for an hour after. Failures are not
    remembered: repeating one tries again."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, bytes, asyncio.Task[T]]] = {}

    async def once(self, request: Any, create: Callable[[], Awaitable[T]]) -> T:
        """What `create` makes, or what it made for an equal request with this id.

        Raises InvalidArgument when the id was used for a request that differs.
        """
        key: str = request.request_id
        if not key:
            return await create()
        if len(key) > MAX_ID:
            raise InvalidArgument(f"request_id: {len(key)} characters; at most {MAX_ID} are allowed", "request_id")
        self._forget()
        known = self._made.get(key)
        content = _content(request)
        if known is not None and known[1] != content:
            raise InvalidArgument(f"request_id: {key} was used for a request that differs from this one", "request_id")
        if known is None:
            task = asyncio.ensure_future(_run(create))
            known = self._made[key] = time.monotonic(), content, task
            task.add_done_callback(lambda task: self._on_done(key, task))
        return await asyncio.shield(known[2])  # whoever repeats the call may still want it when this caller leaves

    def _on_done(self, key: str, task: asyncio.Task[T]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._made[key]

    def _forget(self) -> None:
        oldest = time.monotonic() - REMEMBERED_S
        for key in [key for key, (since, _, task) in self._made.items() if since < oldest and task.done()]:
            del self._made[key]


async def _run(create: Callable[[], Awaitable[T]]) -> T:
    return await create()


def _content(request: Message) -> bytes:
    return request.SerializeToString(deterministic=True)
