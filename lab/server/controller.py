"""The controller: serves the API on a unix socket, and on TCP when asked to. Labs and runs are processes."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import os
import shutil
import signal
import socket as sockets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lab.server import backends, lab_process, names, nursery, run_process
from lab.server import line as lines
from lab.server.app_service import AppKinds
from lab.server.backends import BackendService
from lab.server.children import Nursery
from lab.server.claim import check_path, claim, held
from lab.server.journal import default_state
from lab.server.labs import Labs, LabsService
from lab.server.reap import make_private_directory
from lab.server.router import Router
from lab.server.runs import ExperimentService, Runs, RunService
from lab.server.serving import OPTIONS, Context, Handlers
from lab.server.trace_service import TraceService
from nodes.base.errors import InvalidArgument
from tcplab.v1 import (
    app_pb2,
    attack_pb2,
    backend_pb2,
    lab_pb2,
    link_pb2,
    node_pb2,
    operation_pb2,
    run_pb2,
    tcp_pb2,
    trace_pb2,
)

#: Calls that go on when the controller ends have so long, wall seconds.
_GRACE: Final = 0.5

log = logging.getLogger("tcplab")


@dataclass(frozen=True)
class Settings:
    """Where and how to serve. `listen` is host:port ("": not on TCP); an address that is not of this machine alone
    needs `certificate` and `key` (PEM files) and a `token`, which clients send as `authorization: Bearer TOKEN`."""

    socket: Path
    runs: Path
    #: Where the journal of real-time labs is.
    state: Path = field(default_factory=default_state)
    #: Whether real-time labs go on when this controller ends without ending them, if they do not say themselves.
    keep: bool = True
    listen: str = ""
    certificate: Path | None = None
    key: Path | None = None
    token: str = ""
    #: Whether Python code that clients send (congestion controls) may be run: as this user.
    allow_code: bool = False

    def __post_init__(self) -> None:
        check_path(self.socket)
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument("certificate and key are needed together", "key" if self.certificate else "cert")
        if not self.listen:
            return
        host, port = split_address(self.listen)
        if is_loopback(host):
            return
        missing = [
            word
            for word, there in (("a certificate with its key", self.certificate), ("a token", self.token))
            if not there
        ]
        if missing:
            raise InvalidArgument(
                f"{self.listen}: others can reach this address, so it takes {' and '.join(missing)}; or listen on "
                f"127.0.0.1:{port}",
                "listen",
            )


def default_runs() -> Path:
    """Where runs are kept when no other place is named."""
    return Path.home() / ".tcplab" / "runs"


def serve(settings: Settings, ready: Callable[[str], None], until_eof: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, or with `until_eof` until standard input ends; then end all labs.

    `ready(address)` is called when calls are taken. Raises FailedPrecondition when a controller is there already,
    InvalidArgument for an address that cannot be had. To be called before this process has threads.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    claim(settings.socket)
    settings.runs.mkdir(parents=True, exist_ok=True)
    private = make_private_directory()
    pid, control = nursery.start(_child, private)
    try:
        asyncio.run(_serve(settings, ready, until_eof, pid, control, private))
    finally:
        control.close()
        os.waitpid(pid, 0)
        shutil.rmtree(private, ignore_errors=True)  # as it has done, unless it was killed


def _child(line: sockets.socket) -> None:
    """A process of the nursery: do the job that comes first on the line."""
    job = lines.receive(line)
    if job is not None:
        {
            "lab": lab_process.run,
            "run": run_process.run,
            "validate": run_process.validate,
            "backends": backends.tell,
        }[job["what"]](job, line)


class Controller:
    """What the services of a controller share. To be made inside a running loop."""

    def __init__(self, settings: Settings, pid: int, control: sockets.socket, private: Path) -> None:
        self.settings = settings
        self.nursery = Nursery(pid, control)
        self.runs = Runs(settings.runs.absolute(), self.nursery)
        socket = str(settings.socket.absolute())
        self.labs = Labs(
            self.nursery, self.runs, private, settings.state.absolute(), socket, settings.keep, settings.allow_code
        )
        self.handlers = self._handlers()
        self.health = health.aio.HealthServicer()

    def server(self, interceptors: tuple[grpc.aio.ServerInterceptor, ...] = ()) -> grpc.aio.Server:
        """A server of everything; each way in has its own."""
        server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
        server.add_generic_rpc_handlers((self.handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        served = [service.full_name for service in SERVICES]
        reflection.enable_server_reflection([*served, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        return server

    async def set_serving(self, serving: bool) -> None:
        """What health checks are told."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.full_name for service in SERVICES)):
            await self.health.set(name, status)

    async def close(self) -> None:
        """End labs and runs, and the nursery."""
        await asyncio.gather(self.labs.close(), self.runs.close())
        self.nursery.close()

    def _handlers(self) -> Handlers:
        handlers = Handlers()
        by_name = {service.name: service for service in SERVICES}
        handlers.add(by_name["LabService"], LabsService(self.labs))
        handlers.add(by_name["BackendService"], BackendService(self.nursery))
        handlers.add(by_name["AppService"], AppKinds())
        handlers.add(by_name["ExperimentService"], ExperimentService(self.nursery, self.settings.allow_code))
        handlers.add(by_name["RunService"], RunService(self.runs, self.settings.allow_code))
        router = Router(self.labs)
        for service in SERVICES:
            router.add_to(handlers, service)
        of_runs = Handlers()
        traces = TraceService(lambda parent: self.runs.get(names.RUN.parse(parent, "parent")[0]))
        of_runs.add(by_name["TraceService"], traces)
        router.divert(handlers, of_runs, by_name["TraceService"], "QueryTrace", "ListFlows")
        return handlers


SERVICES: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service
    for module in (
        lab_pb2,
        backend_pb2,
        link_pb2,
        node_pb2,
        tcp_pb2,
        operation_pb2,
        app_pb2,
        attack_pb2,
        trace_pb2,
        run_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


class _TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without the token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(request: Any, context: Context) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "no token, or a wrong one: metadata `authorization: Bearer TOKEN`"
            )

        self._refusal: Any = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        value = given.encode() if isinstance(given, str) else given
        if hmac.compare_digest(value, self._expected):
            return await continuation(handler_call_details)
        return self._refusal


async def _serve(
    settings: Settings, ready: Callable[[str], None], until_eof: bool, pid: int, control: sockets.socket, private: Path
) -> None:
    controller = Controller(settings, pid, control, private)
    servers = [controller.server()]
    address = f"unix:{settings.socket.absolute()}"
    with held(settings.socket, lambda unnamed: _bind(servers[0], unnamed, None)):
        try:
            await controller.labs.adopt()
            if settings.listen:
                servers.append(_tcp_server(controller))
            for server in servers:
                await server.start()
            await controller.set_serving(True)
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            for signum in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(signum, stop.set)
            if until_eof:
                _stop_at_eof(stop)
            ready(address)
            log.info(
                "serving on %s%s; runs are in %s",
                address,
                f" and {settings.listen}" if settings.listen else "",
                controller.runs.directory,
            )
            await stop.wait()
            log.info("ending %d labs", len(controller.labs.by_name))
            await controller.set_serving(False)
        finally:
            ending = [asyncio.create_task(server.stop(_GRACE)) for server in servers]
            await controller.close()
            await asyncio.wait(ending)


def _tcp_server(controller: Controller) -> grpc.aio.Server:
    settings = controller.settings
    server = controller.server((_TokenInterceptor(settings.token),) if settings.token else ())
    credentials = None
    if settings.certificate is not None and settings.key is not None:
        pair = settings.key.read_bytes(), settings.certificate.read_bytes()
        credentials = grpc.ssl_server_credentials([pair])
    _bind(server, settings.listen, credentials)
    return server


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> None:
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise InvalidArgument(f"{address}: cannot be listened on: {error}", "listen") from None


def _stop_at_eof(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends."""
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, on_input)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:50051`, `[::1]:50051`. Raises InvalidArgument."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise InvalidArgument(f"{address!r} is not HOST:PORT, such as 127.0.0.1:50051", "listen")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
