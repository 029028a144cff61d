"""`Report`: what of a foreign topology has no counterpart here, and why."""

from __future__ import annotations

from typing import Any

_SHOWN = 8


class Report:
    """Remarks, each said once with all it is about."""

    def __init__(self) -> None:
        self._remarks: dict[tuple[str, str], list[str]] = {}

    def say(self, about: str, what: str, why: str) -> None:
        """`what` of `about` (a node, a link; "" is the whole file), and why it is not here as it was there."""
        names = self._remarks.setdefault((what, why), [])
        if about and about not in names:
            names.append(about)

    def lines(self) -> list[str]:
        """One line for each remark, in the order they were first made."""
        return [f"{_names(names)}{what}: {why}" for (what, why), names in self._remarks.items()]

    def data(self) -> list[dict[str, Any]]:
        """The same for programs."""
        return [{"what": what, "why": why, "about": names} for (what, why), names in self._remarks.items()]


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}: " if names else ""
