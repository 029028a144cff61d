"""TraceService: what happened, from the spool; of a lab in its own process, of a run in the controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from lab.backends.until import EventFilter
from lab.server import convert
from lab.server.capture import CaptureStream, capture_so_far, pieces
from lab.server.convert_event import event_message
from lab.server.live_capture import Wire
from lab.server.news import News
from lab.server.pages import position, size_of
from lab.server.serving import Context
from lab.trace.analysis import Conversation, End, analyse
from lab.trace.event import Event
from lab.trace.spool_reader import SpoolReader
from nodes.base.errors import FailedPrecondition, InvalidArgument
from nodes.base.events import ERROR, RESET, RETRANSMIT, STATE
from tcplab.v1 import trace_pb2

#: Records read before others get their turn, about 1 ms.
PIECE: Final = 256
MAX_PAGE: Final = 10_000
#: Readers of pages kept to go on where they were.
KEPT_READERS: Final = 16
_FLOW_KINDS: Final = (STATE, RESET, RETRANSMIT, ERROR)


class Source(Protocol):
    """A trace that may still grow."""

    news: News

    @property
    def ended(self) -> bool: ...

    @property
    def spool(self) -> Path: ...

    @property
    def has_frames(self) -> bool: ...

    @property
    def interfaces(self) -> tuple[str, ...]: ...

    async def settle(self) -> None: ...

    def flush(self) -> None: ...

    def tap(self, interface: str) -> Wire: ...


class TraceService:
    """`source` gives the trace that a name (`labs/{lab}`, `runs/{run}`) means. Raises NotFound."""

    def __init__(self, source: Callable[[str], Source]) -> None:
        self._source = source
        self._readers: dict[tuple[int, bytes, int], SpoolReader] = {}  # by file, filter and place

    async def FollowTrace(
        self, request: trace_pb2.FollowTraceRequest, context: Context
    ) -> AsyncIterator[trace_pb2.FollowTraceResponse]:
        source = self._source(request.lab)
        if request.start_seq < 0:
            raise InvalidArgument(f"start_seq: {request.start_seq} is not 1 (the first) or more", "start_seq")
        wanted = convert.event_filter(request.filter)
        reader = _reader(source, wanted, request.start_seq - 1)
        await source.settle()
        snapshot = source.spool.stat().st_size
        snapshot_done = False
        while True:
            changed, ended = source.news.next, source.ended
            source.flush()
            before = reader.seq
            events = [event_message(event) for event in reader.read(PIECE) if wanted.matches(event)]
            at_end = reader.seq - before < PIECE
            done = not snapshot_done and reader.offset >= snapshot
            if events or done:
                snapshot_done = snapshot_done or done
                yield trace_pb2.FollowTraceResponse(
                    events=events, next_seq=max(reader.seq, request.start_seq - 1) + 1, snapshot_done=done
                )
            if not at_end:
                await asyncio.sleep(0)
            elif ended:
                return
            else:
                await changed.wait()

    async def QueryTrace(self, request: trace_pb2.QueryTraceRequest, context: Context) -> trace_pb2.QueryTraceResponse:
        source = self._source(request.parent)
        wanted = convert.event_filter(request.filter)
        size, after = size_of(request, MAX_PAGE), position(request)
        await source.settle()
        key = source.spool.stat().st_ino, request.filter.SerializeToString(deterministic=True)
        reader = self._readers.pop((*key, after), None) or _reader(source, wanted, after)
        events: list[trace_pb2.TraceEvent] = []
        while len(events) < size:
            before = reader.seq
            room = min(PIECE, size - len(events))
            events += [event_message(event) for event in reader.read(room) if wanted.matches(event)]
            if reader.seq - before < room:
                return trace_pb2.QueryTraceResponse(events=events)
            await asyncio.sleep(0)
        while len(self._readers) >= KEPT_READERS:
            del self._readers[next(iter(self._readers))]
        self._readers[(*key, reader.seq)] = reader
        return trace_pb2.QueryTraceResponse(events=events, next_page_token=str(reader.seq))

    async def ListFlows(self, request: trace_pb2.ListFlowsRequest, context: Context) -> trace_pb2.ListFlowsResponse:
        source = self._source(request.parent)
        await source.settle()
        conversations = (await asyncio.to_thread(analyse, source.spool)).conversations
        events: dict[tuple[str, int], list[Event]] = {}
        reader = SpoolReader(source.spool, kinds=_FLOW_KINDS)
        at_end = False
        while not at_end:
            before = reader.seq
            for event in reader.read(PIECE):
                events.setdefault((event.node, event.connection), []).append(event)
            at_end = reader.seq - before < PIECE
            await asyncio.sleep(0)
        return trace_pb2.ListFlowsResponse(flows=_flows(conversations, events))

    async def Capture(
        self, request: trace_pb2.CaptureRequest, context: Context
    ) -> AsyncIterator[trace_pb2.CaptureResponse]:
        source = self._source(request.lab)
        if request.interface not in source.interfaces:
            known = ", ".join(source.interfaces[:20])
            raise InvalidArgument(
                f"interface: {request.interface[:80]!r} is none of this lab; there are {known}", "interface"
            )
        if request.live:
            async for piece in source.tap(request.interface).pieces(lambda: source.ended):
                yield trace_pb2.CaptureResponse(data=piece)
            return
        if not source.has_frames:
            raise FailedPrecondition(f"{request.lab} was made with capture off: no frames are kept")
        if not request.follow:
            await source.settle()
            for piece in pieces(await asyncio.to_thread(capture_so_far, source.spool, request.interface)):
                yield trace_pb2.CaptureResponse(data=piece)
            return
        capture = CaptureStream(source.spool, request.interface)
        while True:
            changed, ended = source.news.next, source.ended
            source.flush()
            at_end = capture.read(PIECE)
            if data := capture.take():
                yield trace_pb2.CaptureResponse(data=data)
            if not at_end:
                await asyncio.sleep(0)
            elif ended:
                return
            else:
                await changed.wait()


def _reader(source: Source, wanted: EventFilter, after: int) -> SpoolReader:
    return SpoolReader(
        source.spool, after=after, kinds=wanted.numbers, node=wanted.node or None, connection=wanted.connection or None
    )


def _flows(conversations: list[Conversation], events: dict[tuple[str, int], list[Event]]) -> Iterator[trace_pb2.Flow]:
    def end(one: End) -> trace_pb2.FlowEnd:
        mine = [event for event in events.get((one.node, one.number), ()) if event.time_ns >= one.opened_ns]
        return trace_pb2.FlowEnd(
            node=one.node,
            connection=one.number,
            local_address=one.local[0],
            local_port=one.local[1],
            remote_address=one.remote[0],
            remote_port=one.remote[1],
            events=[event_message(event) for event in mine],
        )

    for conversation in conversations:
        yield trace_pb2.Flow(
            client=end(conversation.first), server=end(conversation.second) if conversation.second is not None else None
        )
