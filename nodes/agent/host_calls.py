"""The calls of a Host over a line: what a member offers (`offer_host`) and what the lab makes of it (`RemoteHost`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from nodes.agent.host import AppState, Host, InterfaceInfo, ListenerInfo, PingResult, Readiness
from nodes.agent.member import Member
from nodes.agent.payload import PLAIN, Payload, Received, SendFlags
from nodes.agent.plain import plain
from nodes.agent.remote import Remote
from nodes.base.clock import NEVER
from nodes.base.errors import Cancelled, FailedPrecondition, NotFound
from nodes.base.tasks import Task, TaskRunner, Waiter
from nodes.tcp.info import TcpInfo

#: Turns the plain settings of a kind of application into those of its class.
ReadSettings = Callable[[str, Mapping[str, Any]], Any]
#: The other way.
PlainSettings = Callable[[Any], Any]

_AS_THEY_ARE: Final = (
    "start_open",
    "established",
    "listen",
    "close_listener",
    "accept",
    "wait_ready",
    "closed",
    "shutdown",
    "close",
    "linger",
    "abort",
    "has_connection",
    "status",
    "statuses",
    "readiness",
    "set_option",
    "get_option",
    "listeners",
    "parameters",
    "set_parameters",
    "counters",
    "interfaces",
    "ping",
    "send_raw",
    "app",
    "receive",
    "receive_urgent",
)


def offer_host(member: Member, host: Host, read_settings: ReadSettings) -> None:
    """Offer every call of a Host."""
    for name in _AS_THEY_ARE:
        member.offer(name, getattr(host, name))
    tasks: dict[str, Task] = {}

    async def send(connection: int, pattern: bytes, length: int, timeout_ns: int, flags: list[bool]) -> int:
        return await host.send(connection, Payload(pattern, length), timeout_ns, SendFlags(*flags))

    def run_app(name: str, kind: str, settings: Mapping[str, Any]) -> Coroutine[Any, None, AppState]:
        task = tasks[name] = host.start_app(name, kind, read_settings(kind, settings))
        return ended(name, task)

    async def ended(name: str, task: Task) -> AppState:
        waiter: Waiter[None] = Waiter(f"the end of app {name}")
        task.on_done(lambda _: waiter.succeed(None))
        try:
            await waiter
        except Cancelled:
            task.cancel()
            raise
        if task.error is not None:
            raise task.error
        return host.app(name)

    member.offer("send", send)
    member.offer("run_app", run_app)


class RemoteHost(Host):
    """A Host in another process. When that is gone, every call raises FailedPrecondition but those that look at what
    was last known: `status`, `statuses`, `counters`, `app`."""

    def __init__(
        self, name: str, order: int, remote: Remote, runner: TaskRunner, plain_settings: PlainSettings
    ) -> None:
        self.name = name
        self.order = order
        self.remote = remote
        self._runner = runner
        self._plain_settings = plain_settings
        self._statuses: dict[int, TcpInfo] = {}
        self._counters: Mapping[str, int] = {}
        self._apps: dict[str, AppState] = {}
        #: Applications of an earlier process.
        self._over: set[str] = set()

    def start_again(self, remote: Remote) -> None:
        """Have another process, which knows nothing of what was. Applications are over; what they came to stays."""
        self.freeze()
        self.remote = remote
        self._statuses = {}
        self._counters = {}
        self._over |= set(self._apps)

    def freeze(self) -> None:
        """Take what is to be known when the process is gone."""
        if not self.remote.failure:
            try:
                self.counters()
                self.statuses()
                for name in self._apps:
                    self.app(name)
            except FailedPrecondition:
                pass  # it ended meanwhile: what was last heard stands

    # TCP

    def start_open(
        self,
        remote: bytes,
        remote_port: int,
        local: bytes = b"",
        local_port: int = 0,
        options: Mapping[str, object] | None = None,
    ) -> int:
        number: int = self.remote.call(
            "start_open",
            remote=remote,
            remote_port=remote_port,
            local=local,
            local_port=local_port,
            options=plain(options or {}),
        )
        return number

    async def established(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self.remote.wait("established", connection=connection, timeout_ns=timeout_ns)

    def listen(
        self, local_port: int, local: bytes = b"", backlog: int = 128, options: Mapping[str, object] | None = None
    ) -> int:
        number: int = self.remote.call(
            "listen", local_port=local_port, local=local, backlog=backlog, options=plain(options or {})
        )
        return number

    def close_listener(self, listener: int) -> None:
        self.remote.call("close_listener", listener=listener)

    async def accept(self, listener: int, timeout_ns: int = NEVER) -> int:
        number: int = await self.remote.wait("accept", listener=listener, timeout_ns=timeout_ns)
        return number

    async def send(self, connection: int, payload: Payload, timeout_ns: int = NEVER, flags: SendFlags = PLAIN) -> int:
        length: int = await self.remote.wait(
            "send",
            connection=connection,
            pattern=payload.pattern,
            length=payload.length,
            timeout_ns=timeout_ns,
            flags=list(flags),
        )
        return length

    async def receive(
        self, connection: int, max_bytes: int = 65536, min_bytes: int = 1, keep: bool = True, timeout_ns: int = NEVER
    ) -> Received:
        return Received(
            **await self.remote.wait(
                "receive",
                connection=connection,
                max_bytes=max_bytes,
                min_bytes=min_bytes,
                keep=keep,
                timeout_ns=timeout_ns,
            )
        )

    async def receive_urgent(self, connection: int, timeout_ns: int = NEVER) -> Received:
        return Received(**await self.remote.wait("receive_urgent", connection=connection, timeout_ns=timeout_ns))

    async def wait_ready(self, connection: int, read: bool, write: bool, timeout_ns: int = NEVER) -> tuple[bool, bool]:
        readable, writable = await self.remote.wait(
            "wait_ready", connection=connection, read=read, write=write, timeout_ns=timeout_ns
        )
        return readable, writable

    async def closed(self, connection: int, timeout_ns: int = NEVER) -> None:
        await self.remote.wait("closed", connection=connection, timeout_ns=timeout_ns)

    def shutdown(self, connection: int) -> None:
        self.remote.call("shutdown", connection=connection)

    def close(self, connection: int) -> None:
        self.remote.call("close", connection=connection)

    async def linger(self, connection: int) -> None:
        await self.remote.wait("linger", connection=connection)

    def abort(self, connection: int) -> None:
        self.remote.call("abort", connection=connection)

    def has_connection(self, connection: int) -> bool:
        if self.remote.failure:
            return connection in self._statuses
        known: bool = self.remote.call("has_connection", connection=connection)
        return known

    def status(self, connection: int) -> TcpInfo:
        if not self.remote.failure:
            self._statuses[connection] = _tcp_info(self.remote.call("status", connection=connection))
        if connection not in self._statuses:
            raise NotFound(f"{self.name} has no connection {connection}")
        return self._statuses[connection]

    def statuses(self) -> list[TcpInfo]:
        if not self.remote.failure:
            self._statuses = {one["number"]: _tcp_info(one) for one in self.remote.call("statuses")}
        return list(self._statuses.values())

    def readiness(self, connection: int) -> Readiness:
        return Readiness(**self.remote.call("readiness", connection=connection))

    def set_option(self, connection: int, name: str, value: object) -> None:
        self.remote.call("set_option", connection=connection, name=name, value=value)

    def get_option(self, connection: int, name: str) -> int | str:
        value: int | str = self.remote.call("get_option", connection=connection, name=name)
        return value

    def listeners(self) -> list[ListenerInfo]:
        if self.remote.failure:
            return []
        return [ListenerInfo(**one) for one in self.remote.call("listeners")]

    # the host

    def parameters(self) -> Mapping[str, int | str]:
        values: Mapping[str, int | str] = self.remote.call("parameters")
        return values

    def set_parameters(self, values: Mapping[str, object]) -> None:
        self.remote.call("set_parameters", values=plain(values))

    def counters(self) -> Mapping[str, int]:
        if not self.remote.failure:
            self._counters = self.remote.call("counters")
        return self._counters

    def interfaces(self) -> list[InterfaceInfo]:
        found = self.remote.call("interfaces")
        return [
            InterfaceInfo(**{**one, "ipv6": tuple((each, length) for each, length in one["ipv6"])}) for one in found
        ]

    async def ping(
        self,
        remote: bytes,
        count: int = 1,
        interval_ns: int = 1_000_000_000,
        size: int = 56,
        ttl: int = 0,
        timeout_ns: int = 1_000_000_000,
    ) -> list[PingResult]:
        results = await self.remote.wait(
            "ping", remote=remote, count=count, interval_ns=interval_ns, size=size, ttl=ttl, timeout_ns=timeout_ns
        )
        return [PingResult(**one) for one in results]

    def send_raw(self, packet: bytes) -> None:
        self.remote.call("send_raw", packet=packet)

    # applications

    def start_app(self, name: str, kind: str, settings: Any) -> Task:
        self._apps[name] = AppState({}, ())
        return self._runner.spawn(self.order, name, self._run_app(name, kind, self._plain_settings(settings)))

    async def _run_app(self, name: str, kind: str, settings: Any) -> None:
        self._apps[name] = _app_state(await self.remote.wait("run_app", name=name, kind=kind, settings=settings))

    def app(self, name: str) -> AppState:
        known = self._apps.get(name)
        if known is None:
            raise NotFound(f"{self.name} has no app {name}")
        if not self.remote.failure and name not in self._over:
            known = self._apps[name] = _app_state(self.remote.call("app", name=name))
        return known


def _tcp_info(said: dict[str, Any]) -> TcpInfo:
    return TcpInfo(**{**said, "options": tuple(said["options"])})


def _app_state(said: dict[str, Any]) -> AppState:
    return AppState(said["results"], tuple(said["connections"]))
