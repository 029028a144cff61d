"""One direction of a link: the path of a frame, sans-I/O.

    rules -> queue + rate -> wire loss, corruption, duplication -> delay

Delivery is at max(previous delivery, end of serialisation + drawn delay): order is kept unless reordering is asked for.
All chances are drawn when a frame enters, each from its own stream, and the k-th frame that a node offers gets the k-th
draw of each stream, whatever else the link does or did. So an update applies to frames that enter after it; only a new
rate also applies to those that still wait. Frames that rules or attacks inject take no draws and suffer no chances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mypy_extensions import i64

from lab.attacks import forge
from lab.links.ecn import mark
from lab.links.frame import ETHERNET, FrameView
from lab.links.impairments import Impairments
from lab.links.packet import CORRUPTED, DUPLICATED, LOST, MARKED, REORDERED, Packet
from lab.links.queue import Queue
from lab.links.queues import QUEUES
from lab.links.rules import Corrupt, Delay, Drop, Duplicate, Hold, Rule
from lab.links.statistics import Statistics
from nodes.base.clock import NEVER, SECOND, Scheduler, Sequence
from nodes.base.event_sink import EventSink
from nodes.base.events import (
    DELIVERY,
    FRAME,
    LEVEL_SEGMENTS,
    LEVEL_STATES,
    LINK,
    VERDICT_CORRUPTED,
    VERDICT_DELAYED,
    VERDICT_DROPPED_DOWN,
    VERDICT_DROPPED_LOSS,
    VERDICT_DROPPED_QUEUE,
    VERDICT_DROPPED_RULE,
    VERDICT_DUPLICATED,
    VERDICT_HELD,
    VERDICT_INJECTED,
    VERDICT_MARKED,
    VERDICT_PASSED,
    VERDICT_REORDERED,
    VERDICT_RESET,
)
from nodes.base.random import Randomness, RandomStream

Deliver = Callable[[bytes], object]
#: Called with the instant and each frame that leaves the direction.
Tap = Callable[[int, bytes], None]

_BITS_NS: Final = 8 * SECOND


class _Draws:
    """A stream of which the k-th draw can be asked for, k rising; those skipped are spent."""

    __slots__ = ("stream", "taken")

    def __init__(self, stream: RandomStream) -> None:
        self.stream = stream
        self.taken = 0

    def at(self, k: int) -> RandomStream:
        """The stream, standing before its k-th draw."""
        while self.taken < k - 1:
            self.stream.bits(64)
            self.taken += 1
        self.taken = k
        return self.stream


class Direction:
    """One direction of a link, named `link/a->b` in the trace.

    `deliver(frame)` is called at the far end, one call a copy; taps see the frame there too, after it. `opposite` is
    the other direction of the link, which reset rules need.
    """

    # Compiled, attributes lie in memory in this order: what every frame needs is side by side.
    statistics: Statistics
    deliver: Deliver
    rules: list[Rule]
    _scheduler: Scheduler
    _sink: EventSink
    _plain_arrivals: Sequence
    _arrivals: Sequence
    _transmissions: Sequence
    _queue: Queue
    _held: list[tuple[int, Packet, Rule]]
    _taps: tuple[Tap, ...]
    _delay_ns: int
    _rate_bps: int
    _busy_until: int
    _last_release: int
    _ecn_threshold: int
    _plain: bool
    _transmitting: bool
    up: bool
    _chances: bool

    def __init__(
        self,
        name: str,
        impairments: Impairments,
        scheduler: Scheduler,
        randomness: Randomness,
        sink: EventSink,
        deliver: Deliver,
    ) -> None:
        self.name = name
        self.name_id = sink.name(name)
        self.deliver = deliver
        self.opposite: Direction | None = None
        self.rules = []
        self.up = True
        self.impairments = impairments
        self.statistics = Statistics()
        self._taps = ()
        self._scheduler = scheduler
        self._sink = sink
        self._loss = _Draws(randomness.stream(f"link/{name}/loss"))
        self._burst = _Draws(randomness.stream(f"link/{name}/gemodel"))
        self._burst_loss = _Draws(randomness.stream(f"link/{name}/gemodel-loss"))
        self._bad = False  # the state of the Gilbert-Elliott model
        self._corrupt = _Draws(randomness.stream(f"link/{name}/corrupt"))
        self._corrupt_bit = _Draws(randomness.stream(f"link/{name}/corrupt-bit"))
        self._duplicate = _Draws(randomness.stream(f"link/{name}/duplicate"))
        self._jitter = _Draws(randomness.stream(f"link/{name}/jitter"))
        self._reorder = _Draws(randomness.stream(f"link/{name}/reorder"))
        self._early = randomness.stream(f"link/{name}/red")
        self._held = []  # (goes after this offered frame, packet, whose)
        self._queue = QUEUES[impairments.queue](impairments, self._early)
        self._transmitting = False  # a call of _transmit is scheduled; so it is while frames wait in the queue
        self._busy_until = 0  # end of the serialisation in progress
        self._last_release = 0
        self._plain_arrivals = scheduler.sequence(self._arrive_plain)
        self._arrivals = scheduler.sequence(self._arrive)
        self._transmissions = scheduler.sequence(self._transmit)
        self._set(impairments)

    # What is asked of it.

    def send(self, frame: bytes) -> None:
        """A node offers a frame at the current instant."""
        now = self._scheduler.now()
        statistics = self.statistics
        statistics.packets_in += 1
        statistics.bytes_in += len(frame)
        sink = self._sink
        if (
            self._plain
            and now >= self._busy_until
            and not self._transmitting
            and not self.rules
            and sink.level < LEVEL_SEGMENTS
            and not sink.capture
        ):
            # Most frames: nothing is done to it and nobody asks which one it was.
            release = now
            if self._rate_bps:
                self._busy_until = release = now + self._line_ns(frame)
            release += self._delay_ns
            if release < self._last_release:
                release = self._last_release
            else:
                self._last_release = release
            self._plain_arrivals.post(release, frame)
            return
        number = statistics.packets_in + statistics.injected
        if sink.capture:
            sink.emit_tail(FRAME, now, 0, 0, 0, (self.name_id, number), frame)
        packet = Packet(number, frame, now, self._delay_ns)
        if self._chances:
            self._draw(packet)
        if not self.rules or self._pass_rules(now, packet):
            self._enter(now, packet)
        if self._held:
            self._release_held(now)

    def inject(self, frame: bytes, at_exit: bool = False) -> None:
        """Put in a frame that no node sent: behind what is under way, or, `at_exit`, straight at the far end."""
        now = self._scheduler.now()
        statistics = self.statistics
        statistics.injected += 1
        number = statistics.packets_in + statistics.injected
        if self._sink.capture:
            self._sink.emit_tail(FRAME, now, 0, 0, 0, (self.name_id, number), frame)
        self._sink.verdict(now, self.name_id, number, VERDICT_INJECTED, 0, 0)
        packet = Packet(number, frame, now, self._delay_ns)
        if at_exit and self.up:
            self._scheduler.post(now, self._arrive, packet)
        else:
            self._enter(now, packet)

    def add_tap(self, tap: Tap) -> None:
        """Let somebody see every frame that is delivered."""
        self._taps = (*self._taps, tap)

    def remove_tap(self, tap: Tap) -> None:
        """Stop it; nothing happens when it is not there."""
        self._taps = tuple(one for one in self._taps if one != tap)

    def remove_rule(self, rule: Rule) -> None:
        """Take a rule away; what it holds goes on."""
        if rule in self.rules:
            self.rules.remove(rule)
            self._release_held(self._scheduler.now(), rule)

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change the named impairments (Python field names); all or, when one is wrong, none."""
        self.replace(self.impairments.merged(changes))

    def replace(self, impairments: Impairments) -> None:
        """Have exactly these impairments from now on."""
        self._set(impairments)
        self.emit_link_event()

    def set_up(self, up: bool) -> None:
        """Down: what waits or is held is dropped, and so is what comes. What is on the wire arrives."""
        if up == self.up:
            return
        self.up = up
        self._plain = up and not self._chances
        now = self._scheduler.now()
        if not up:
            while (packet := self._queue.pop(now)) is not None:
                self._drop_down(now, packet)
            for _, packet, _ in self._held:
                self._drop_down(now, packet)
            self._held.clear()
            self._queue_changed(now)
        self.emit_link_event()

    def emit_link_event(self) -> None:
        """Record whether it is up and its impairments."""
        if self._sink.level >= LEVEL_STATES:
            words = self.impairments.words().encode()
            self._sink.emit_tail(LINK, self._scheduler.now(), 0, 0, 0, (self.name_id, int(self.up)), words)

    def _line_ns(self, frame: bytes) -> int:
        """How long a frame takes to serialise, rounded up."""
        size: i64 = len(frame)
        rate: i64 = self._rate_bps
        return -(-size * _BITS_NS // rate)

    # On the way in.

    def _set(self, impairments: Impairments) -> None:
        self.impairments = impairments
        self._delay_ns = impairments.delay_ns
        self._rate_bps = min(impairments.rate_bps, NEVER)  # beyond that a frame takes 1 ns all the same
        self._chances = impairments.chances
        self._bursts = impairments.bursts
        self._ecn_threshold = impairments.ecn_threshold
        self._bad = self._bad and self._bursts
        self._plain = self.up and not self._chances
        discipline = QUEUES[impairments.queue]
        if type(self._queue) is not discipline:
            now = self._scheduler.now()
            old, self._queue = self._queue, discipline(impairments, self._early)
            while (packet := old.pop(now)) is not None:
                self._enqueue(now, packet)
        self._queue.configure(impairments)

    def _draw(self, packet: Packet) -> None:
        """Decide by chance what will happen to the k-th offered frame, with the k-th draw of each stream."""
        k = self.statistics.packets_in  # of the frames that the node offered, the k-th
        impairments = self.impairments
        if impairments.loss and self._loss.at(k).chance(impairments.loss):
            packet.marks |= LOST
        if self._bursts and self._burst_loses(k):
            packet.marks |= LOST
        if impairments.jitter_ns:
            packet.delay_ns = max(0, packet.delay_ns + self._jitter.at(k).spread(impairments.jitter_ns))
        if impairments.reorder or impairments.reorder_gap:
            chosen = self._reorder.at(k).chance(impairments.reorder) if impairments.reorder else True
            if chosen and (not impairments.reorder_gap or k % impairments.reorder_gap == 0):
                packet.marks |= REORDERED
                later = impairments.reorder_delay_ns
                packet.delay_ns = packet.delay_ns + later if later else 0
        if impairments.duplicate and self._duplicate.at(k).chance(impairments.duplicate):
            packet.marks |= DUPLICATED
            packet.copies = 1
        if impairments.corrupt and self._corrupt.at(k).chance(impairments.corrupt):
            packet.marks |= CORRUPTED
            self._flip_bit(packet, self._corrupt_bit.at(k))

    def _burst_loses(self, k: int) -> bool:
        """The k-th frame meets the state there is; then the state may change (as loss_gilb_ell of sch_netem.c)."""
        impairments = self.impairments
        bad = self._bad
        if self._burst.at(k).chance(impairments.gemodel_r if bad else impairments.gemodel_p):
            self._bad = not bad
        return self._burst_loss.at(k).chance(impairments.gemodel_1h if bad else impairments.gemodel_1k)

    def _flip_bit(self, packet: Packet, stream: RandomStream) -> None:
        """Flip one bit of an IP packet, checksums untouched.

        Frames of other protocols (ARP) stay whole: they have no checksum by which anybody could tell.
        """
        frame = packet.frame
        if len(frame) > ETHERNET and frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
            bit = stream.below(8 * (len(frame) - ETHERNET))
            altered = bytearray(frame)
            altered[ETHERNET + (bit >> 3)] ^= 1 << (bit & 7)
            packet.frame = bytes(altered)
            packet.altered = True

    def _pass_rules(self, now: int, packet: Packet) -> bool:
        """Show the frame to the rules. False: one has taken it."""
        view = FrameView(packet.frame)
        for rule in self.rules:
            if rule.picks(view):
                return self._act(now, packet, view, rule)
        return True

    def _act(self, now: int, packet: Packet, view: FrameView, rule: Rule) -> bool:
        action = rule.action
        statistics = self.statistics
        verdict = VERDICT_DROPPED_RULE
        delay_ns = 0
        stays = False
        if isinstance(action, Drop):
            statistics.dropped_rule += 1
        elif isinstance(action, Delay):
            verdict = VERDICT_DELAYED
            delay_ns = action.delay_ns
            statistics.delayed += 1
            self._scheduler.post(now + delay_ns, self._enter_late, packet)
        elif isinstance(action, Hold):
            verdict = VERDICT_HELD
            statistics.held += 1
            self._held.append((self.statistics.packets_in + action.packets, packet, rule))
        elif isinstance(action, Duplicate):
            verdict = VERDICT_DUPLICATED
            statistics.duplicated += 1
            packet.copies += action.copies
            stays = True
        elif isinstance(action, Corrupt):
            verdict = VERDICT_CORRUPTED
            statistics.corrupted += 1
            self._flip_bit(packet, rule.bits)
            stays = True
        else:
            verdict = VERDICT_RESET
            statistics.resets += 1
            self._reset(view)
        self._sink.verdict(now, self.name_id, packet.number, verdict, rule.name_id, delay_ns)
        return stays

    def _reset(self, view: FrameView) -> None:
        """In place of a TCP segment, an RST to where it was going, and one at once to where it came from."""
        to_receiver, to_sender = forge.resets_for(view)
        if to_receiver:
            self.inject(to_receiver)
        if to_sender and self.opposite is not None:
            self.opposite.inject(to_sender, at_exit=True)

    def _enter_late(self, packet: Packet) -> None:
        self._enter(self._scheduler.now(), packet)

    def _release_held(self, now: int, whose: Rule | None = None) -> None:
        """Let those go that have waited for their number of frames, or all of one rule."""
        held, self._held = self._held, []
        for entry in held:
            after, packet, rule = entry
            if after <= self.statistics.packets_in or rule is whose:
                self._enter(now, packet)
            else:
                self._held.append(entry)

    # Queue, rate, wire.

    def _enter(self, now: int, packet: Packet) -> None:
        if not self.up:
            self._drop_down(now, packet)
        elif self._queue.packets or now < self._busy_until:
            self._enqueue(now, packet)
        else:
            self._serialise(now, packet)

    def _enqueue(self, now: int, packet: Packet) -> None:
        if not self._queue.push(now, packet):
            self.statistics.dropped_queue += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_DROPPED_QUEUE, 0, 0)
            return
        queue = self._queue
        statistics = self.statistics
        threshold = self._ecn_threshold
        if threshold and queue.bytes > threshold:
            marked = mark(packet.frame)
            if marked:
                packet.frame = marked
                packet.altered = True
                packet.marks |= MARKED
        if queue.packets > statistics.queue_packets_max:
            statistics.queue_packets_max = queue.packets
        if queue.bytes > statistics.queue_bytes_max:
            statistics.queue_bytes_max = queue.bytes
        self._queue_changed(now)
        if not self._transmitting:
            self._transmitting = True
            self._transmissions.post(self._busy_until, None)

    def _transmit(self, _: None) -> None:
        """The line has become free: serialise what waits; with a rate that is one packet, without one all."""
        now = self._scheduler.now()
        self._transmitting = False
        while now >= self._busy_until:
            packet = self._queue.pop(now)
            if packet is None:
                return
            self._queue_changed(now)
            self._serialise(now, packet)
        if self._queue.packets:
            self._transmitting = True
            self._transmissions.post(self._busy_until, None)

    def _serialise(self, now: int, packet: Packet) -> None:
        """Put the packet on the line, which is free, and from there on the wire."""
        end = now
        if self._rate_bps:
            self._busy_until = end = now + self._line_ns(packet.frame)
        marks = packet.marks
        if marks & LOST:
            self.statistics.dropped_loss += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_DROPPED_LOSS, 0, 0)
            return
        release = end + packet.delay_ns
        if not marks & REORDERED:
            if release < self._last_release:
                release = self._last_release
            else:
                self._last_release = release
            self._arrivals.post(release, packet)
        else:
            self._scheduler.post(release, self._arrive, packet)
        if marks:
            self._tell_marks(now, packet, release)
        elif self._sink.level >= LEVEL_SEGMENTS:
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_PASSED, 0, release - packet.entered_ns)

    def _tell_marks(self, now: int, packet: Packet, release: int) -> None:
        statistics = self.statistics
        marks = packet.marks
        delay_ns = release - packet.entered_ns
        if marks & MARKED:
            statistics.marked += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_MARKED, 0, delay_ns)
        if marks & CORRUPTED:
            statistics.corrupted += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_CORRUPTED, 0, delay_ns)
        if marks & DUPLICATED:
            statistics.duplicated += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_DUPLICATED, 0, delay_ns)
        if marks & REORDERED:
            statistics.reordered += 1
            self._sink.verdict(now, self.name_id, packet.number, VERDICT_REORDERED, 0, delay_ns)

    def _arrive_plain(self, frame: bytes) -> None:
        """A frame to which nothing was done has come to the far end."""
        statistics = self.statistics
        statistics.packets_delivered += 1
        statistics.bytes_delivered += len(frame)
        self.deliver(frame)
        for tap in self._taps:
            tap(self._scheduler.now(), frame)

    def _arrive(self, packet: Packet) -> None:
        """The packet, and its copies after it, have come to the far end."""
        frame = packet.frame
        statistics = self.statistics
        for copy in range(packet.copies + 1):
            statistics.packets_delivered += 1
            statistics.bytes_delivered += len(frame)
            if self._sink.capture:
                altered = packet.altered
                values = (self.name_id, packet.number, copy, int(altered))
                self._sink.emit_tail(DELIVERY, self._scheduler.now(), 0, 0, 0, values, frame if altered else b"")
            self.deliver(frame)
            for tap in self._taps:
                tap(self._scheduler.now(), frame)

    def _drop_down(self, now: int, packet: Packet) -> None:
        self.statistics.dropped_down += 1
        self._sink.verdict(now, self.name_id, packet.number, VERDICT_DROPPED_DOWN, 0, 0)

    def _queue_changed(self, now: int) -> None:
        queue = self._queue
        statistics = self.statistics
        statistics.queue_packets = queue.packets
        statistics.queue_bytes = queue.bytes
        if self._sink.level >= LEVEL_SEGMENTS:
            self._sink.queue(now, self.name_id, queue.packets, queue.bytes)
