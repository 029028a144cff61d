"""BackendService: what labs can be made with on this machine. Looking takes a process without threads."""

from __future__ import annotations

import base64
import socket
from collections.abc import Sequence
from typing import Any

from google.rpc import status_pb2

from lab.backends.base import Capability
from lab.backends.catalogue import BACKENDS, lab_class
from lab.server import line as lines
from lab.server.children import Nursery
from lab.server.errors import CallFailed, status_of
from lab.server.serving import Context
from nodes.base.errors import FailedPrecondition, Unsupported
from tcplab.v1 import backend_pb2


class BackendService:
    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery

    async def ListBackends(
        self, request: backend_pb2.ListBackendsRequest, context: Context
    ) -> backend_pb2.ListBackendsResponse:
        child = await self.nursery.child("look at the machine", {"what": "backends"})
        answer = await child.heard()
        how = await child.ended()
        if answer is None:
            raise FailedPrecondition(f"what this machine can do could not be found out: {how}")
        if "error" in answer:
            raise CallFailed(status_pb2.Status.FromString(base64.b64decode(answer["error"])))
        return backend_pb2.ListBackendsResponse.FromString(base64.b64decode(answer["backends"]))


def tell(job: dict[str, Any], line: socket.socket) -> None:
    """Look, and say what was found, in a process of its own."""
    try:
        found = list_backends().SerializeToString()
    except Exception as error:
        lines.send(line, {"error": base64.b64encode(status_of(error).SerializeToString()).decode()})
        return
    lines.send(line, {"backends": base64.b64encode(found).decode()})


def list_backends() -> backend_pb2.ListBackendsResponse:
    """All backends, sim first."""
    return backend_pb2.ListBackendsResponse(backends=[_backend(name) for name in BACKENDS])


def _backend(name: str) -> backend_pb2.Backend:
    try:
        kind = lab_class(name)
    except Unsupported as error:
        return backend_pb2.Backend(name=name, reason=str(error))
    reason = kind.missing()
    return backend_pb2.Backend(
        name=name, available=not reason, reason=reason, capabilities=_messages(kind.capabilities())
    )


def _messages(found: Sequence[Capability]) -> list[backend_pb2.Capability]:
    return [backend_pb2.Capability(name=one.name, available=one.available, reason=one.reason) for one in found]
