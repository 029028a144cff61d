"""One event of a trace, with words for enums and plain values."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tcplab.v1 import trace_pb2
from tcplab.v1.cause_pb2 import Cause
from tcplab.v1.event_pb2 import Source


class Event:
    """`event.kind` is `state`, `segment`, `reset` ...; `event["new"]` a field of that kind: enums as their words,
    what is absent as None. `message` is the TraceEvent it was made of."""

    __slots__ = ("message",)

    def __init__(self, message: trace_pb2.TraceEvent) -> None:
        self.message = message

    @property
    def seq(self) -> int:
        """Number in the trace, from 1."""
        return self.message.seq

    @property
    def time_ns(self) -> int:
        """ns of lab time."""
        return self.message.time_ns

    @property
    def node(self) -> str:
        """Name of the node, or ""."""
        return self.message.node

    @property
    def connection(self) -> int:
        """Number of the connection on its node, or 0."""
        return self.message.connection

    @property
    def cause(self) -> str:
        """Why, such as `RTO_EXPIRED`; "" when there is no cause."""
        return Cause.Name(self.message.cause).removeprefix("CAUSE_") if self.message.cause else ""

    @property
    def source(self) -> str:
        """Who saw it, where that was not our TCP: CAPTURE, INFERRED, TRACEFS, SOCK_DIAG; else ""."""
        return Source.Name(self.message.source).removeprefix("SOURCE_") if self.message.source else ""

    @property
    def kind(self) -> str:
        """What happened."""
        return self.message.event.WhichOneof("kind") or ""

    def __getitem__(self, field: str) -> Any:
        body = getattr(self.message.event, self.kind)
        descriptor = body.DESCRIPTOR.fields_by_name.get(field)
        if descriptor is None:
            raise KeyError(f"{self.kind} events have no field {field!r}; {', '.join(body.DESCRIPTOR.fields_by_name)}")
        return _plain(body, descriptor)

    @property
    def fields(self) -> dict[str, Any]:
        """All fields of its kind."""
        body = getattr(self.message.event, self.kind)
        return {one.name: _plain(body, one) for one in body.DESCRIPTOR.fields}

    def row(self) -> dict[str, Any]:
        """Everything in one dict, as for a table."""
        head = {
            "seq": self.seq,
            "time_ns": self.time_ns,
            "node": self.node,
            "connection": self.connection,
            "cause": self.cause,
            "kind": self.kind,
        }
        return {**head, **self.fields}

    def __repr__(self) -> str:
        who = f" {self.node}#{self.connection}" if self.connection else f" {self.node}" if self.node else ""
        why = f" because {self.cause}" if self.cause else ""
        what = " ".join(f"{name}={value}" for name, value in self.fields.items() if value is not None)
        return f"<{self.seq} {self.time_ns / 1e9:.9f}s{who} {self.kind} {what}{why}>"


def _plain(body: Message, field: FieldDescriptor) -> Any:
    if field.has_presence and not body.HasField(field.name):
        return None
    value = getattr(body, field.name)
    return word(field, value) if field.enum_type is not None else value


def word(field: FieldDescriptor, value: int) -> str:
    """The word of an enum's value, without the enum's prefix; "" for the unspecified one. States as in RFC 9293."""
    enum = field.enum_type
    assert enum is not None
    if not value:
        return ""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number.get(value)
    name = known.name.removeprefix(prefix) if known is not None else str(value)
    return name.replace("_", "-") if enum.name == "TcpState" else name
