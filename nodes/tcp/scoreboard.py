"""What is sent and not acknowledged, and what is believed of each piece of it (RFC 6675's scoreboard, RFC 8985's order
of transmission). Work per ACK grows with what the ACK tells, not with the window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from operator import attrgetter
from typing import Final

from nodes.packet.tcp import ACK, PSH

#: What is believed of a segment: on its way, lost (and to be sent again), known to have arrived.
FLYING: Final = 0
LOST: Final = 1
SACKED: Final = 2

_SENT_AT: Final = attrgetter("sent_at")
#: So many acknowledged records are kept at the front of the list before they are cut off.
_SLACK: Final = 256


class Sent:
    """A segment that occupies sequence space and is not yet acknowledged: [seq, end), with its bytes."""

    __slots__ = (
        "app_limited",
        "count",
        "delivered",
        "delivered_at",
        "earlier",
        "end",
        "first_sent_at",
        "flags",
        "in_flight",
        "later",
        "lost_before",
        "order",
        "payload",
        "sent_at",
        "seq",
        "state",
    )

    def __init__(self, seq: int, end: int, flags: int, payload: bytes, sent_at: int) -> None:
        self.seq = seq
        self.end = end
        self.flags = flags
        self.payload = payload
        #: When it was sent last.
        self.sent_at = sent_at
        #: How often it was sent again, and how many transmissions were before its last: instants can be equal.
        self.count = 0
        self.order = 0
        self.state = FLYING
        #: Neighbours in the order of transmission, of those on their way.
        self.earlier: Sent | None = None
        self.later: Sent | None = None
        #: What had been delivered when it was sent last (rate.py).
        self.delivered = 0
        self.delivered_at = sent_at
        self.first_sent_at = sent_at
        self.app_limited = False
        #: What was in flight with it, and what had been lost in all before.
        self.in_flight = 0
        self.lost_before = 0


class Scoreboard:
    """`flying`, `lost` and `sacked` are bytes of sequence space in each state; `flying` is RFC 6675's pipe.
    `sacked_segments` counts those in the third, `arrived` the segments that are known to have arrived, in all, and
    `ever_lost` the bytes that were believed lost, in all."""

    __slots__ = (
        "_head",
        "_known",
        "_lost",
        "_order",
        "_records",
        "arrived",
        "ever_lost",
        "first_sent",
        "flying",
        "last_sent",
        "losses",
        "lost",
        "sacked",
        "sacked_segments",
    )

    def __init__(self) -> None:
        self._records: list[Sent] = []
        self._head = 0
        self._order = 0
        #: Ends of the ranges that SACK has told, disjoint and sorted.
        self._known: list[tuple[int, int]] = []
        #: Heap of the beginnings of what was lost; some of them are not any more.
        self._lost: list[int] = []
        self.arrived = 0
        self.ever_lost = 0
        #: For who wants to know: what was lost and is not told yet, each with `ever_lost` as it was then.
        self.losses: list[tuple[Sent, int]] | None = None
        self.flying = 0
        self.lost = 0
        self.sacked = 0
        self.sacked_segments = 0
        #: Of those on their way, what was sent first and last.
        self.first_sent: Sent | None = None
        self.last_sent: Sent | None = None

    def __len__(self) -> int:
        return len(self._records) - self._head

    def __iter__(self) -> Iterator[Sent]:
        """In the order of sequence numbers."""
        records = self._records
        return iter(records[self._head :] if self._head else records)

    @property
    def first(self) -> Sent:
        """What SND.UNA stands in. There must be something."""
        return self._records[self._head]

    @property
    def last(self) -> Sent:
        """What ends at SND.NXT. There must be something."""
        return self._records[-1]

    @property
    def highest_sacked(self) -> int:
        """End of the highest block that SACK has told; -1: none."""
        return self._known[-1][1] if self._known else -1

    @property
    def ranges(self) -> int:
        """How many blocks SACK has told, beyond SND.UNA."""
        return len(self._known)

    def clear(self) -> None:
        """Forget everything but how much arrived."""
        for record in self._records:
            record.earlier = record.later = None
        self._records.clear()
        self._head = self._order = 0
        self._known.clear()
        self._lost.clear()
        self.flying = self.lost = self.sacked = self.sacked_segments = 0
        self.first_sent = self.last_sent = None

    # Order of transmission.

    def _link(self, record: Sent) -> None:
        last = self.last_sent
        self._order += 1
        record.order = self._order
        record.earlier = last
        record.later = None
        if last is None:
            self.first_sent = record
        else:
            last.later = record
        self.last_sent = record

    def _unlink(self, record: Sent) -> None:
        earlier = record.earlier
        later = record.later
        if earlier is None:
            self.first_sent = later
        else:
            earlier.later = later
        if later is None:
            self.last_sent = earlier
        else:
            later.earlier = earlier
        record.earlier = record.later = None

    # What happens to segments.

    def add(self, record: Sent) -> None:
        """It is sent for the first time: nothing sent reaches further."""
        self._records.append(record)
        self.flying += record.end - record.seq
        self._link(record)

    def sent_again(self, record: Sent, now: int) -> None:
        """It is on its way once more."""
        size = record.end - record.seq
        if record.state == LOST:
            self.lost -= size
            self.flying += size
        elif record.state == FLYING:
            self._unlink(record)
        else:
            return
        record.state = FLYING
        record.count += 1
        record.sent_at = now
        self._link(record)

    def lose(self, record: Sent) -> None:
        """It is believed lost: nothing happens when it has arrived or is lost already."""
        if record.state != FLYING:
            return
        self._unlink(record)
        record.state = LOST
        size = record.end - record.seq
        self.flying -= size
        self.lost += size
        self.ever_lost += size
        if self.losses is not None:
            self.losses.append((record, self.ever_lost))
        heappush(self._lost, record.seq)

    def lose_all(self) -> None:
        """Everything that is not known to have arrived is believed lost."""
        records = self._records
        for index in range(self._head, len(records)):
            self.lose(records[index])

    def forget_sacked(self) -> None:
        """The receiver may have thrown away what it said it had (RFC 2018 section 8)."""
        self._known.clear()
        records = self._records
        for index in range(self._head, len(records)):
            record = records[index]
            if record.state == SACKED:
                size = record.end - record.seq
                record.state = FLYING
                self.sacked -= size
                self.sacked_segments -= 1
                self.flying += size
                self._link(record)

    def find_all(self) -> None:
        """Nothing was lost: all that was believed so is on its way, as it was sent first."""
        records = self._records
        flying: list[Sent] = []
        for index in range(self._head, len(records)):
            record = records[index]
            if record.state == LOST:
                size = record.end - record.seq
                record.state = FLYING
                self.lost -= size
                self.flying += size
            if record.state == FLYING:
                flying.append(record)
        flying.sort(key=_SENT_AT)  # stable: by sequence where the instants are equal
        self.first_sent = self.last_sent = None
        for record in flying:
            self._link(record)

    def next_lost(self) -> Sent | None:
        """What was lost first in the sequence, and is to be sent again."""
        heap = self._lost
        while heap:
            record = self._at(heap[0])
            if record is not None and record.state == LOST:
                return record
            heappop(heap)
        return None

    def split(self, record: Sent, size: int) -> None:
        """Cut a record after `size` bytes of payload, for a path that takes only smaller segments."""
        rest = Sent(record.seq + size, record.end, record.flags, record.payload[size:], record.sent_at)
        rest.count = record.count
        rest.order = record.order
        rest.delivered = record.delivered
        rest.delivered_at = record.delivered_at
        rest.first_sent_at = record.first_sent_at
        rest.app_limited = record.app_limited
        rest.in_flight = record.in_flight
        rest.lost_before = record.lost_before
        rest.state = record.state
        record.end = record.seq + size
        record.payload = record.payload[:size]
        record.flags = record.flags & ~PSH & ACK
        self._records.insert(self._index(record.seq) + 1, rest)
        if rest.state == LOST:
            heappush(self._lost, rest.seq)
        elif rest.state == FLYING:
            later = rest.later = record.later
            rest.earlier = record
            record.later = rest
            if later is None:
                self.last_sent = rest
            else:
                later.earlier = rest
        self._look(record)
        self._look(rest)

    # What ACKs tell.

    def acknowledge(self, ack: int) -> list[Sent]:
        """All before `ack` has arrived: the records that are done with, in order. One that is done in part is
        shortened, and the part is in none."""
        records = self._records
        head = self._head
        start = head
        count = len(records)
        while head < count:
            record = records[head]
            if record.end > ack:
                if record.seq < ack:
                    self._shorten(record, ack)
                break
            self._remove(record)
            head += 1
        done = records[start:head]
        if head == count:
            records.clear()
            head = 0
        elif head > _SLACK and head * 2 > count:
            del records[:head]
            head = 0
        self._head = head
        known = self._known
        while known and known[0][0] < ack:
            right = known[0][1]
            if right > ack:
                known[0] = (ack, right)
                break
            del known[0]
        if head < len(records):
            self._look(records[head])
        return done

    def _remove(self, record: Sent) -> None:
        size = record.end - record.seq
        if record.state == FLYING:
            self.flying -= size
            self._unlink(record)
        elif record.state == LOST:
            self.lost -= size
        else:
            self.sacked -= size
            self.sacked_segments -= 1
            return
        self.arrived += 1

    def _shorten(self, record: Sent, ack: int) -> None:
        size = ack - record.seq
        if record.state == FLYING:
            self.flying -= size
        elif record.state == LOST:
            self.lost -= size
            heappush(self._lost, ack)
        else:
            self.sacked -= size
        record.payload = record.payload[size:]
        record.seq = ack

    def sack(self, left: int, right: int) -> list[Sent]:
        """[left, right) has arrived: the records of which that is news, in order; `state` tells no more what each was
        before."""
        known = self._known
        index = bisect_right(known, (left, 1 << 80))
        if index and known[index - 1][1] >= left:
            index -= 1
            if known[index][1] >= right:
                return []
        merged_left, merged_right = left, right
        last = index
        while last < len(known) and known[last][0] <= right:
            merged_left = min(merged_left, known[last][0])
            merged_right = max(merged_right, known[last][1])
            last += 1
        news_from = known[index][1] if last == index + 1 and known[index][0] <= left else merged_left
        known[index:last] = [(merged_left, merged_right)]
        news: list[Sent] = []
        records = self._records
        at = self._index(news_from) if news_from > merged_left else self._first_from(merged_left)
        while at < len(records):
            record = records[at]
            if record.end > merged_right:
                break
            if record.state != SACKED and record.seq >= merged_left:
                news.append(record)
                self._arrived(record)
            at += 1
        return news

    def _arrived(self, record: Sent) -> None:
        size = record.end - record.seq
        if record.state == FLYING:
            self.flying -= size
            self._unlink(record)
        else:
            self.lost -= size
        record.state = SACKED
        self.sacked += size
        self.sacked_segments += 1
        self.arrived += 1

    def _look(self, record: Sent) -> None:
        """It has become shorter: perhaps what is left of it was told."""
        if record.state != SACKED:
            index = bisect_right(self._known, (record.seq, 1 << 80)) - 1
            if index >= 0 and record.end <= self._known[index][1]:
                self._arrived(record)

    def _first_from(self, seq: int) -> int:
        """Index of the first record that begins at `seq` or later."""
        records = self._records
        low = self._head
        high = len(records)
        while low < high:
            middle = (low + high) >> 1
            if records[middle].seq < seq:
                low = middle + 1
            else:
                high = middle
        return low

    def _index(self, seq: int) -> int:
        """Index of the record that `seq` is in, or of the first when it is before all."""
        return max(self._first_from(seq + 1) - 1, self._head)

    def _at(self, seq: int) -> Sent | None:
        index = self._index(seq)
        if index < len(self._records) and self._records[index].seq == seq:
            return self._records[index]
        return None
