"""Telling whoever watches that something has changed."""

from __future__ import annotations

import asyncio


class News:
    """Watchers take `next` before they look, and wait for it when there was nothing new: so they miss nothing."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        told, self.next = self.next, asyncio.Event()
        told.set()
