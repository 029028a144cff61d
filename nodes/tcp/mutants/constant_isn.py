"""Mutant: no clock and no secret in the initial sequence number. Segments of an old connection fit into a new one, and
who sees nothing of a connection knows its numbers all the same (RFC 9293 section 3.4.1, RFC 6528)."""

from __future__ import annotations

from typing import Final

ISN: Final = 1000
