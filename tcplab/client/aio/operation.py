"""Calls that wait for lab time to pass, and the clock that makes it pass."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from tcplab.client.aio.rpc import Lock, Rpc
from tcplab.client.errors import from_operation
from tcplab.client.event import Event
from tcplab.client.values import Time, duration, enum_value
from tcplab.v1 import lab_pb2, operation_pb2, trace_pb2
from tcplab.v1.cause_pb2 import Cause


@dataclass(frozen=True)
class Stopped:
    """Why the clock stopped: `reason` is TIME, OPERATIONS, APPS, EVENT or IDLE; `event` goes with EVENT."""

    reason: str
    time_ns: int
    event: Event | None


class Clock:
    """The clock of one lab. Blocking calls of one program take turns at it; in real time it needs nobody."""

    def __init__(self, rpc: Rpc, lab: str, real_time: bool) -> None:
        self.rpc = rpc
        self.lab = lab
        self._turn = nullcontext() if real_time else Lock()

    async def advance(self, request: lab_pb2.AdvanceRequest, deadline: float | None = None) -> Stopped:
        """Let time pass; at most `deadline` wall seconds."""
        request.lab = self.lab
        async with self._turn:
            answer = await self.rpc.call(self.rpc.labs.Advance, request, deadline)
        reason = lab_pb2.AdvanceResponse.Reason.Name(answer.reason).removeprefix("REASON_")
        return Stopped(reason, answer.time_ns, Event(answer.event) if answer.HasField("event") else None)


class Operation:
    """A call in progress or ended; it makes progress only while time passes. `message` is what is known of it."""

    def __init__(self, clock: Clock, message: operation_pb2.Operation) -> None:
        self._clock = clock
        self.message = message

    @property
    def name(self) -> str:
        """`labs/{lab}/operations/{operation}`."""
        return self.message.name

    async def done(self) -> bool:
        """Whether it has ended, asked now."""
        if not self.message.done:
            rpc = self._clock.rpc
            self.message = await rpc.call(
                rpc.operations.GetOperation, operation_pb2.GetOperationRequest(name=self.name)
            )
        return self.message.done

    async def wait(self) -> operation_pb2.Operation:
        """Let time pass until it is done. Raises what it failed with."""
        if not await self.done():
            await self._clock.advance(lab_pb2.AdvanceRequest(operations=[self.name]))
            await self.done()
        if self.message.HasField("error"):
            raise from_operation(self.message.error)
        return self.message

    async def cancel(self) -> None:
        """End it at the current instant; what it already did stays done."""
        rpc = self._clock.rpc
        await rpc.call(rpc.operations.CancelOperation, operation_pb2.CancelOperationRequest(name=self.name))

    def __repr__(self) -> str:
        state = "done" if self.message.done else f"waits for {self.message.waiting_for or 'its turn'}"
        return f"<{self.name} {self.message.call}: {state}>"


def event_filter(
    kinds: str | Iterable[str] = (),
    node: str = "",
    connection: int = 0,
    cause: str = "",
    where: Mapping[str, Any] | None = None,
) -> trace_pb2.EventFilter:
    """Which events are meant. `where` maps fields to the value they must have or a comparison (`">= 20000"`)."""
    return trace_pb2.EventFilter(
        kinds=[kinds] if isinstance(kinds, str) else list(kinds),
        node=node,
        connection=connection,
        cause=Cause.ValueType(enum_value(Cause.DESCRIPTOR, cause, "cause")) if cause else Cause.CAUSE_UNSPECIFIED,
        fields={name: text(value) for name, value in (where or {}).items()},
    )


def text(value: Any) -> str:
    """As the API takes values: what is not text as JSON has it."""
    return value if isinstance(value, str) else json.dumps(value)


def texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    """A mapping of such values."""
    return {name: text(value) for name, value in (values or {}).items()}


def advance_request(
    duration_: Time | None,
    time: Time | None,
    operations: Iterable[Operation | str],
    apps: Iterable[str],
    event: trace_pb2.EventFilter | None,
    nth: int,
    idle: bool,
    pace: float,
) -> lab_pb2.AdvanceRequest:
    """What Lab.advance asks."""
    until = duration(time, "time")
    return lab_pb2.AdvanceRequest(
        duration=duration(duration_, "duration"),
        time_ns=until.ToNanoseconds() if until is not None else None,
        operations=[one if isinstance(one, str) else one.name for one in operations],
        apps=apps,
        event=event,
        nth=nth,
        idle=idle,
        pace=pace,
    )
