"""The queue disciplines by name."""

from __future__ import annotations

from typing import Final

from lab.links.queue import DropTail, Queue
from lab.links.red import Red

#: Disciplines by the name that `queue:` takes.
QUEUES: Final[dict[str, type[Queue]]] = {"droptail": DropTail, "red": Red}
