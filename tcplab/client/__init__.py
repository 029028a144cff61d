"""tcplab for Python programs, over gRPC.

    import tcplab.client

    with tcplab.client.lab("dumbbell", seed=1) as lab:
        lab.link("bottleneck").update(loss="1%")
        listener = lab.node("h3").listen(80)
        client = lab.node("h1").open("h3", 80)
        server = listener.accept()
        client.start_send(pattern=b"tcplab", length="10mb")
        print(server.receive_digest("10mb").sha256)

A controller is started for it and ends with it, unless one runs already (see `Controller`). Lab time passes only inside
calls that wait; those named `start_` do not. A `timeout` is lab time, a `deadline` wall seconds. `tcplab.client.aio` is
the same for asyncio. What goes wrong is raised as an Error.
"""

from tcplab.client import aio
from tcplab.client.completed import Completed
from tcplab.client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    Error,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    SocketError,
    Timeout,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from tcplab.client.event import Event
from tcplab.client.sync import (
    App,
    Attack,
    Command,
    Connection,
    Controller,
    Lab,
    Link,
    Listener,
    Node,
    Operation,
    Run,
    Stopped,
    lab,
    run,
    sweep,
)

__all__ = [
    "Aborted",
    "AlreadyExists",
    "App",
    "Attack",
    "Cancelled",
    "Command",
    "Completed",
    "Connection",
    "Controller",
    "Error",
    "Event",
    "FailedPrecondition",
    "InternalError",
    "InvalidArgument",
    "Lab",
    "Link",
    "Listener",
    "Node",
    "NotFound",
    "Operation",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Run",
    "SocketError",
    "Stopped",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "aio",
    "lab",
    "run",
    "sweep",
]
