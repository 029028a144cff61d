"""The events of many processes become one trace, in the order of their instants; members hear those they ask for."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

from nodes.agent.remote import Remote
from nodes.base.clock import MILLISECOND, Scheduler
from nodes.base.events import KINDS
from nodes.base.records import Record, RecordTranslator, RecordWriter

#: An event waits so long for earlier ones of other processes; what comes later still is recorded when it comes.
WINDOW_NS: Final = 25 * MILLISECOND


class Merge:
    """Feeds `sink` with the events of members and of the lab itself. `late` counts events that came out of order."""

    def __init__(self, sink: RecordWriter, scheduler: Scheduler) -> None:
        self.late = 0
        self._sink = sink
        self._scheduler = scheduler
        self._heap: list[tuple[int, int, Record]] = []
        self._count = 0
        self._last_ns = 0
        self._scheduled = False
        self._forwards: dict[Remote, Forward] = {}

    def join(self, remote: Remote) -> None:
        """Take a member's events from now on, and give it those of other members that it asks for."""
        translator = RecordTranslator(self._sink)

        def on_records(data: bytes) -> None:
            for record in translator.feed(data):
                self.add(record)
                for other, forward in self._forwards.items():
                    if record[2] in forward.kinds and other is not remote:
                        forward.add(record)
            for forward in self._forwards.values():
                forward.flush()

        def on_subscribe(kinds: list[int]) -> None:
            forward = self._forwards.get(remote)
            if forward is None:
                forward = self._forwards[remote] = Forward(self._sink, remote.send_records)
            forward.kinds = frozenset(kinds)

        remote.on_records = on_records
        remote.on_subscribe = on_subscribe

    def add(self, record: Record) -> None:
        """Take a record, names already those of the sink."""
        self._count += 1
        heappush(self._heap, (record[0], self._count, record))
        if not self._scheduled:
            self._scheduled = True
            self._scheduler.post(record[0] + WINDOW_NS, self._on_timer, None)

    def write(self, until_ns: int) -> None:
        """Record what is not later than `until_ns`."""
        sink = self._sink
        heap = self._heap
        while heap and heap[0][0] <= until_ns:
            time_ns, source, kind, node, connection, cause, values, tail = heappop(heap)[2]
            if time_ns < self._last_ns:
                self.late += 1
            else:
                self._last_ns = time_ns
            sink.source = source
            sink.emit_tail(kind, time_ns, node, connection, cause, values, tail)
        sink.source = 0

    def _on_timer(self, _: Any) -> None:
        self._scheduled = False
        self.write(self._scheduler.now() - WINDOW_NS)
        self._sink.flush()  # real time waits for nobody: whatever kills this process, the trace is there up to now
        if self._heap:
            self._scheduled = True
            self._scheduler.post(self._heap[0][0] + WINDOW_NS, self._on_timer, None)


class Forward(RecordWriter):
    """Events on their way from the lab, whose sink is `sink`, to a member that asked for those of `kinds`."""

    def __init__(self, sink: RecordWriter, send: Callable[[bytes], None]) -> None:
        super().__init__(sink.level, sink.capture)
        self.kinds: frozenset[int] = frozenset()
        self._lab_names = sink.names
        self._send = send
        self._name_fields = {
            kind.number: tuple(at for at, field in enumerate(kind.fields) if field.type == "name") for kind in KINDS
        }

    def add(self, record: Record) -> None:
        """Pass a record on."""
        time_ns, source, kind, node, connection, cause, values, tail = record
        changed = list(values)
        for at in self._name_fields[kind]:
            changed[at] = self.name(self._lab_names[changed[at]])
        self.source = source
        self.emit_tail(kind, time_ns, self.name(self._lab_names[node]), connection, cause, tuple(changed), tail)

    def _write(self, data: bytes) -> None:
        self._send(data)
