"""`Here`: programs of a node run beside its process, as in a container, where both are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class Here:
    """What the calling process sees is what programs see, and its environment is theirs."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables."""
        return dict(os.environ)

    def has_directory(self, path: str) -> bool:
        """Whether programs find a directory there."""
        return Path(path).is_dir()

    def check(self) -> None:
        """Nothing can be missing."""

    def enter(self) -> None:
        """Already there."""

    def close(self) -> None:
        """Programs that left their command's process group go on."""
