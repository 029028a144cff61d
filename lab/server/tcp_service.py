"""TcpService: the user calls of TCP (RFC 9293 section 3.9.1) on the nodes of a lab."""

from __future__ import annotations

from google.protobuf import empty_pb2

from lab.server import convert, names
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from nodes.agent.payload import MAX_PATTERN, Payload
from nodes.base.errors import InvalidArgument
from tcplab.v1 import connection_pb2, operation_pb2, tcp_pb2

DEFAULT_RECEIVE = 65536
#: The most that one RECEIVE returns; of a digest there is no such bound.
MAX_RECEIVE = 32 << 20


class TcpService:
    """Names of requests have been found to be of this lab."""

    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.lab = host.lab

    def Open(self, request: tcp_pb2.OpenRequest, context: Context) -> operation_pb2.Operation:
        _, node = names.parts_of(request)
        if not request.remote:
            raise InvalidArgument("remote: is missing; give a node's name or an address", "remote")
        operation = self.lab.open(
            node,
            request.remote,
            request.remote_port,
            local=request.local,
            local_port=request.local_port,
            options=convert.values(request.options),
            timeout_ns=convert.timeout(request.timeout, request.HasField("timeout")),
        )
        return convert.operation(self.host.name, operation)

    def Listen(self, request: tcp_pb2.ListenRequest, context: Context) -> tcp_pb2.Listener:
        _, node = names.parts_of(request)
        info = self.lab.listen(
            node,
            request.local_port,
            local=request.local,
            backlog=request.backlog if request.HasField("backlog") else 128,
            options=convert.values(request.options),
        )
        return convert.listener(self.host.name, info)

    def CloseListener(self, request: tcp_pb2.CloseListenerRequest, context: Context) -> empty_pb2.Empty:
        _, node, number = names.parts_of(request)
        self.lab.close_listener(node, int(number))
        return empty_pb2.Empty()

    def ListListeners(self, request: tcp_pb2.ListListenersRequest, context: Context) -> tcp_pb2.ListListenersResponse:
        _, node = names.parts_of(request)
        listeners, token = page(self.lab.listeners(node), request, lambda one: one.number)
        return tcp_pb2.ListListenersResponse(
            listeners=[convert.listener(self.host.name, one) for one in listeners], next_page_token=token
        )

    def Accept(self, request: tcp_pb2.AcceptRequest, context: Context) -> operation_pb2.Operation:
        _, node, number = names.parts_of(request)
        timeout_ns = convert.timeout(request.timeout, request.HasField("timeout"))
        return convert.operation(self.host.name, self.lab.accept(node, int(number), timeout_ns=timeout_ns))

    def Send(self, request: tcp_pb2.SendRequest, context: Context) -> operation_pb2.Operation:
        _, node, number = names.parts_of(request)
        kind = request.WhichOneof("payload")
        if kind is None:
            raise InvalidArgument("payload: nothing to send; give data or pattern", "data")
        if kind == "data":
            payload = Payload.of(request.data)
        else:
            if len(request.pattern.pattern) > MAX_PATTERN:
                raise InvalidArgument(
                    f"pattern.pattern: {len(request.pattern.pattern)} bytes; at most {MAX_PATTERN} are allowed",
                    "pattern.pattern",
                )
            payload = Payload(request.pattern.pattern, request.pattern.length)
        timeout_ns = convert.timeout(request.timeout, request.HasField("timeout"))
        operation = self.lab.send(
            node,
            int(number),
            payload,
            more=request.more,
            end=request.end_of_record,
            urgent=request.urgent,
            timeout_ns=timeout_ns,
        )
        return convert.operation(self.host.name, operation)

    def Receive(self, request: tcp_pb2.ReceiveRequest, context: Context) -> operation_pb2.Operation:
        _, node, number = names.parts_of(request)
        least = request.min_length or 1
        most = request.max_length or max(DEFAULT_RECEIVE, least)
        if not request.digest_only and most > MAX_RECEIVE:
            raise InvalidArgument(
                f"max_length: {most} bytes; at most {MAX_RECEIVE} are returned at once, of any length only a digest "
                f"(digest_only)",
                "max_length",
            )
        if not 1 <= least <= most:
            raise InvalidArgument(f"min_length: {least} is not in 1 to max_length, {most}", "min_length")
        operation = self.lab.receive(
            node,
            int(number),
            max_bytes=most,
            min_bytes=least,
            keep=not request.digest_only,
            urgent=request.urgent,
            timeout_ns=convert.timeout(request.timeout, request.HasField("timeout")),
        )
        return convert.operation(self.host.name, operation)

    def Shutdown(self, request: tcp_pb2.ShutdownRequest, context: Context) -> connection_pb2.Connection:
        _, node, number = names.parts_of(request)
        self.lab.shutdown(node, int(number))
        return self._connection(node, int(number))

    def Close(self, request: tcp_pb2.CloseRequest, context: Context) -> connection_pb2.Connection:
        _, node, number = names.parts_of(request)
        self.lab.close(node, int(number))
        return self._connection(node, int(number))

    def Linger(self, request: tcp_pb2.LingerRequest, context: Context) -> operation_pb2.Operation:
        _, node, number = names.parts_of(request)
        return convert.operation(self.host.name, self.lab.linger(node, int(number)))

    def Abort(self, request: tcp_pb2.AbortRequest, context: Context) -> connection_pb2.Connection:
        _, node, number = names.parts_of(request)
        self.lab.abort(node, int(number))
        return self._connection(node, int(number))

    def GetConnection(self, request: tcp_pb2.GetConnectionRequest, context: Context) -> connection_pb2.Connection:
        _, node, number = names.parts_of(request)
        return self._connection(node, int(number))

    def ListConnections(
        self, request: tcp_pb2.ListConnectionsRequest, context: Context
    ) -> tcp_pb2.ListConnectionsResponse:
        _, node = names.parts_of(request)
        connections, token = page(self.lab.connections(node), request, lambda one: one.number)
        return tcp_pb2.ListConnectionsResponse(
            connections=[convert.connection(self.host.name, node, one) for one in connections], next_page_token=token
        )

    def WaitReady(self, request: tcp_pb2.WaitReadyRequest, context: Context) -> operation_pb2.Operation:
        _, node, number = names.parts_of(request)
        operation = self.lab.wait_ready(
            node,
            int(number),
            read=request.read,
            write=request.write,
            timeout_ns=convert.timeout(request.timeout, request.HasField("timeout")),
        )
        return convert.operation(self.host.name, operation)

    def GetOption(self, request: tcp_pb2.GetOptionRequest, context: Context) -> tcp_pb2.GetOptionResponse:
        _, node, number = names.parts_of(request)
        return tcp_pb2.GetOptionResponse(value=str(self.lab.get_option(node, int(number), request.option)))

    def SetOption(self, request: tcp_pb2.SetOptionRequest, context: Context) -> empty_pb2.Empty:
        _, node, number = names.parts_of(request)
        self.lab.set_option(node, int(number), request.option, convert.number_or_text(request.value))
        return empty_pb2.Empty()

    def _connection(self, node: str, number: int) -> connection_pb2.Connection:
        return convert.connection(self.host.name, node, self.lab.status(node, number))
