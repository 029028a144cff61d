"""What is sent and what was received, without 10 MB of it crossing an API."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from nodes.base.errors import InvalidArgument

MAX_PATTERN: Final = 1 << 20
MAX_LENGTH: Final = 1 << 40


@dataclass(frozen=True)
class Payload:
    """`length` bytes: `pattern` repeated and cut. Plain data is a pattern as long as itself."""

    pattern: bytes
    length: int

    def __post_init__(self) -> None:
        if not 0 <= self.length <= MAX_LENGTH:
            raise InvalidArgument(f"{self.length} is not a length: 0 to {MAX_LENGTH} bytes", "length")
        if not self.pattern and self.length:
            raise InvalidArgument(f"an empty pattern cannot fill {self.length} bytes", "pattern")

    @classmethod
    def of(cls, data: bytes) -> Payload:
        return cls(data, len(data))

    def part(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; b"" at the end."""
        size = min(size, self.length - offset)
        if size <= 0:
            return b""
        start = offset % len(self.pattern)
        if start + size <= len(self.pattern):
            return self.pattern[start : start + size]
        times = -(-(start + size) // len(self.pattern))
        return (self.pattern * times)[start : start + size]

    def sha256(self) -> str:
        """Digest of the whole, hex."""
        digest = hashlib.sha256()
        offset = 0
        step = max(1 << 16, len(self.pattern))
        while part := self.part(offset, step):
            digest.update(part)
            offset += len(part)
        return digest.hexdigest()

    def logged(self) -> dict[str, Any]:
        """As an ACTION event holds it."""
        pattern = self.pattern[: self.length]
        return {"pattern": base64.b64encode(pattern).decode("ascii"), "length": self.length}


class SendFlags(NamedTuple):
    """What send(2) is told of the last byte: it is to wait for more (MSG_MORE), it ends a record (MSG_EOR), it is
    urgent data (MSG_OOB)."""

    more: bool = False
    end: bool = False
    urgent: bool = False


#: Nothing is said of the last byte.
PLAIN: Final = SendFlags()


@dataclass(frozen=True)
class Received:
    """What `receive` got. `data` is empty when only the digest was asked for. `eof`: a FIN was reached.

    `sha256` (hex) and `length` are those of the bytes of this call.
    """

    data: bytes
    length: int
    sha256: str
    eof: bool

    @classmethod
    def of(cls, data: bytes) -> Received:
        """All that one call gave; nothing: end of file."""
        return cls(data, len(data), hashlib.sha256(data).hexdigest(), not data)
