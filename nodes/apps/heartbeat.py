"""Heartbeat: send a message at intervals to an echo server, and notice when the peer is dead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nodes.apps.base import OPTIONS, App, check_range, setting
from nodes.apps.pattern import Pattern
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import SocketError


@dataclass(frozen=True, kw_only=True)
class HeartbeatSettings:
    """What to send where, and when the peer counts as dead."""

    to: str = setting(doc="Node or address.")
    port: int = setting(7, "The peer's port; it echoes.")
    interval_ns: int = setting(SECOND, "Between the start of two messages.")
    timeout_ns: int = setting(3 * SECOND, "The peer is dead when an answer takes longer.")
    count: int = setting(0, "End after this many messages; 0: when the peer is dead.")
    message_bytes: int = setting(16, "Size of a message.")
    options: dict[str, Any] = field(default_factory=dict, metadata=OPTIONS)

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("interval", self.interval_ns, 1, NEVER)
        check_range("timeout", self.timeout_ns, 1, NEVER)
        check_range("count", self.count, 0, NEVER)
        check_range("message", self.message_bytes, 1, 65536)


class Heartbeat(App[HeartbeatSettings]):
    """Results: sent and answered messages; peer ("alive", "dead"), and if dead, why (`reason`: "timeout", "closed" or
    an errno name) and dead_at_ns. A dead peer is what it is here to find: the app then ends well, after ABORT."""

    kind = "heartbeat"
    Settings = HeartbeatSettings

    async def run(self) -> None:
        settings = self.settings
        message = Pattern(settings.message_bytes).part(0, settings.message_bytes)
        self.results.update(sent=0, answered=0, peer="alive")
        socket = await self.connect(settings.to, settings.port, 0, settings.options)
        while settings.count == 0 or int(self.results["sent"]) < settings.count:
            started = self.sockets.now()
            try:
                await socket.send_all(message, settings.timeout_ns)
                self.count("sent")
                left = max(started + settings.timeout_ns - self.sockets.now(), 0)
                answer = await socket.recv_exactly(len(message), left)
                reason = "" if len(answer) == len(message) else "closed"
            except TimeoutError:
                reason = "timeout"
            except SocketError as error:
                reason = error.errno_name
            if reason:
                now = self.sockets.now()
                self.results.update(peer="dead", reason=reason, dead_at_ns=now)
                self.report("peer dead", now - started, socket.number)
                if reason in ("timeout", "closed"):
                    socket.abort()
                return
            self.count("answered")
            await self.sockets.runner.sleep_until(started + settings.interval_ns)
