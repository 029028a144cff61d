"""Data that came out of order (RFC 9293 section 3.10.7.4, seventh). Bounded: all of it lies in the receive window."""

from __future__ import annotations

from bisect import bisect_right


class Reassembly:
    """Disjoint pieces of the stream beyond RCV.NXT, in order. Bytes already held win over bytes that come later."""

    __slots__ = ("_data", "_starts", "length")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._data: list[bytes] = []
        self.length = 0

    @property
    def pieces(self) -> int:
        """How many there are."""
        return len(self._starts)

    def add(self, seq: int, data: bytes) -> bool:
        """Keep `data` that starts at `seq`. False when it brings nothing new."""
        starts, pieces = self._starts, self._data
        end = seq + len(data)
        index = bisect_right(starts, seq)
        if index:
            previous_end = starts[index - 1] + len(pieces[index - 1])
            if previous_end > seq:
                if previous_end >= end:
                    return False
                data = data[previous_end - seq :]
                seq = previous_end
        added = False
        while data:
            next_start = starts[index] if index < len(starts) else end
            if next_start > seq:
                piece = data[: next_start - seq]
                starts.insert(index, seq)
                pieces.insert(index, piece)
                self.length += len(piece)
                added = True
                seq += len(piece)
                data = data[len(piece) :]
                index += 1
            else:
                skip = len(pieces[index])
                seq += skip
                data = data[skip:]
                index += 1
        return added

    def take(self, seq: int) -> list[bytes]:
        """Remove and return the pieces that continue the stream at `seq`, in order."""
        starts, pieces = self._starts, self._data
        count = 0
        taken: list[bytes] = []
        for start in starts:
            if start > seq:
                break
            piece = pieces[count]
            end = start + len(piece)
            if end > seq:
                taken.append(piece[seq - start :])
                seq = end
            self.length -= len(piece)
            count += 1
        del starts[:count]
        del pieces[:count]
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._starts.clear()
        self._data.clear()
        self.length = 0
