"""OperationService: calls that wait for lab time to pass."""

from __future__ import annotations

from google.protobuf import empty_pb2

from lab.server import convert, names
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from tcplab.v1 import operation_pb2


class OperationService:
    def __init__(self, host: LabHost) -> None:
        self.host = host

    def GetOperation(self, request: operation_pb2.GetOperationRequest, context: Context) -> operation_pb2.Operation:
        _, name = names.parts_of(request)
        return convert.operation(self.host.name, self.host.lab.operations.get(name))

    def ListOperations(
        self, request: operation_pb2.ListOperationsRequest, context: Context
    ) -> operation_pb2.ListOperationsResponse:
        operations, token = page(self.host.lab.operations.all(), request, lambda one: int(one.name.rpartition("-")[2]))
        return operation_pb2.ListOperationsResponse(
            operations=[convert.operation(self.host.name, one) for one in operations], next_page_token=token
        )

    def CancelOperation(self, request: operation_pb2.CancelOperationRequest, context: Context) -> empty_pb2.Empty:
        _, name = names.parts_of(request)
        self.host.lab.cancel(name)
        return empty_pb2.Empty()
