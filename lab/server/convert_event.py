"""Events of a trace as messages of the API, which follow the schema in nodes/base/events.py; so does this."""

from __future__ import annotations

from typing import Any, Final

from lab.trace.event import BINARY_TAILS, Event
from nodes.base.events import KINDS, NAME, UNKNOWN, Kind
from tcplab.v1 import trace_pb2
from tcplab.v1.cause_pb2 import Cause
from tcplab.v1.event_pb2 import Source


class _Converter:
    """How one kind of event becomes its message."""

    def __init__(self, kind: Kind) -> None:
        self.name = kind.name
        self._tail = kind.tail
        self._binary = kind.tail in BINARY_TAILS
        #: (field, is it a name, may it be unknown)
        self._fields = [(field.name, field.type == "name", field.code == "q") for field in kind.fields]

    def fill(self, body: Any, event: Event) -> None:
        for (name, is_name, is_optional), value in zip(self._fields, event.values, strict=True):
            if is_optional:
                if value != UNKNOWN:
                    setattr(body, name, value)
            elif value:  # 0 and "" are what a field is when it is not set
                setattr(body, name, event.text_of(value) if is_name else value)
        if self._tail:
            setattr(body, self._tail, event.tail if self._binary else event.text)


_CONVERTERS: Final = {kind.number: _Converter(kind) for kind in KINDS if kind.number != NAME}


def event_message(event: Event) -> trace_pb2.TraceEvent:
    """An event as the API has it."""
    message: Any = trace_pb2.TraceEvent(
        seq=event.seq,
        time_ns=event.time_ns,
        node=event.node,
        connection=event.connection,
        cause=Cause.ValueType(event.cause),
        source=Source.ValueType(event.source),
    )
    converter = _CONVERTERS[event.kind]
    body = getattr(message.event, converter.name)
    body.SetInParent()
    converter.fill(body, event)
    answer: trace_pb2.TraceEvent = message
    return answer
