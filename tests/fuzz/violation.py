"""What fuzzing finds."""

from __future__ import annotations


class Violation(Exception):
    """The stack did what no TCP may do."""
