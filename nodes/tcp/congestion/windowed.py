"""The highest of what was seen lately."""

from __future__ import annotations

from collections import deque


class WindowedMax:
    """The highest of the samples of the last so many rounds, or whatever else is counted."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        #: When, and how much: later ones are lower.
        self._samples: deque[tuple[int, int]] = deque()

    @property
    def best(self) -> int:
        """The highest; 0: there was none."""
        return self._samples[0][1] if self._samples else 0

    def update(self, time: int, value: int, window: int) -> None:
        """A sample; those of `time` - `window` and before are forgotten."""
        samples = self._samples
        while samples and samples[-1][1] <= value:
            samples.pop()
        samples.append((time, value))
        while samples[0][0] <= time - window:
            samples.popleft()
