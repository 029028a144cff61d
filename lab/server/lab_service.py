"""LabService as a lab process serves it: what the lab is now, and its clock."""

from __future__ import annotations

import math

from lab.backends.until import Until
from lab.server import convert
from lab.server.convert_event import event_message
from lab.server.host import LabHost
from lab.server.serving import Context
from nodes.base.errors import InvalidArgument
from tcplab.v1 import lab_pb2

MAX_PACE = 1e9


class LabService:
    """Labs are made, listed, deleted and watched by the controller."""

    def __init__(self, host: LabHost) -> None:
        self.host = host

    def GetLab(self, request: lab_pb2.GetLabRequest, context: Context) -> lab_pb2.Lab:
        return self.host.message()

    async def Advance(self, request: lab_pb2.AdvanceRequest, context: Context) -> lab_pb2.AdvanceResponse:
        until = convert.until(self.host.lab, request)
        if math.isnan(request.pace) or not 0 <= request.pace <= MAX_PACE:
            raise InvalidArgument(f"pace: {request.pace:g} is not in 0 (as fast as it goes) to {MAX_PACE:g}", "pace")
        stopped = await self.host.advance(until, request.pace, f"an Advance until {_words(until)}")
        return lab_pb2.AdvanceResponse(
            reason=lab_pb2.AdvanceResponse.Reason.Value(f"REASON_{stopped.reason.upper()}"),
            time_ns=stopped.time_ns,
            event=event_message(stopped.event) if stopped.event is not None else None,
        )


def _words(until: Until) -> str:
    """What an advance waits for."""
    words = []
    if until.operations:
        words.append(f"{', '.join(until.operations[:3])} {'are' if len(until.operations) > 1 else 'is'} done")
    if until.apps:
        words.append(f"{', '.join(until.apps[:3])} {'have' if len(until.apps) > 1 else 'has'} ended")
    if until.event is not None:
        words.append(f"event {until.nth} of {until.event.words()}")
    if until.time_ns is not None:
        words.append(f"{until.time_ns} ns")
    if until.idle:
        words.append("nothing is left to do")
    return " or ".join(words)
