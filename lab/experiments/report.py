"""What a run of an experiment came to: for people, and as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lab.experiments.expectations import Result


@dataclass(frozen=True)
class Outcome:
    """`problems` kept the timeline from being done; `notes` are worth knowing but no failure. `directory` is the
    bundle's. `time_ns` is the lab time at the end, `events` how many the trace has."""

    name: str
    seed: int
    problems: tuple[str, ...]
    results: tuple[Result, ...]
    notes: tuple[str, ...]
    directory: str
    time_ns: int
    events: int
    wall_ms: int

    @property
    def ok(self) -> bool:
        return not self.problems and all(result.ok for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "seed": self.seed,
            "ok": self.ok,
            "problems": list(self.problems),
            "expectations": [result.as_dict() for result in self.results],
            "notes": list(self.notes),
            "directory": self.directory,
            "lab_time_ns": self.time_ns,
            "events": self.events,
            "wall_ms": self.wall_ms,
        }

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [
            f"{self.name}, seed {self.seed}: {_seconds(self.time_ns)} of lab time in {self.wall_ms} ms, "
            f"{self.events} events"
        ]
        for problem in self.problems:
            lines.append(f"  PROBLEM  {problem}")
        for result in self.results:
            lines.append(f"  {'ok  ' if result.ok else 'FAIL'}  {result.expected}")
            if not result.ok:
                lines.append(f"        found: {result.found}{_events(result)}")
                if result.why:
                    lines.append(f"        why it is expected: {result.why}")
        for note in self.notes:
            lines.append(f"  note  {note}")
        failed = sum(not result.ok for result in self.results)
        if self.ok:
            lines.append(f"All {len(self.results)} expectations hold." if self.results else "Nothing was expected.")
        elif failed:
            lines.append(f"{failed} of {len(self.results)} expectations do not hold.")
        lines.append(f"Run: {self.directory}")
        return lines


def _events(result: Result) -> str:
    if not result.events:
        return ""
    shown = ", ".join(map(str, result.events[:8])) + (" ..." if len(result.events) > 8 else "")
    return f" (events {shown})"


def _seconds(time_ns: int) -> str:
    return f"{time_ns / 1e9:.6f}".rstrip("0").rstrip(".") + " s"
