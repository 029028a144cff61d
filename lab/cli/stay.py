"""`tcplab up --stay`: a lab that is there as long as the command."""

from __future__ import annotations

import signal

from nodes.base.errors import FailedPrecondition
from tcplab.client import Lab, errors
from tcplab.v1 import lab_pb2


def stay_until_interrupted(lab: Lab) -> None:
    """Say what becomes of a lab until SIGINT or SIGTERM, then delete it; or until somebody else deletes it.

    Raises FailedPrecondition when it cannot go on, and errors of the API when the server ends.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known: dict[str, str] = {}
    try:
        for message in lab.watch():
            if message.state == lab_pb2.Lab.STATE_FAILED:
                raise FailedPrecondition(f"{lab.name} has failed: {message.failure}")
            failed = dict(message.failed_nodes)
            for node in sorted(known.keys() | failed.keys()):
                if node not in failed:
                    print(f"{node}: is back", flush=True)
                elif failed[node] != known.get(node):
                    print(f"{node}: {failed[node]}", flush=True)
            known = failed
    except KeyboardInterrupt:
        try:
            lab.delete()
        except errors.NotFound:
            return
        print(f"deleted {lab.name}", flush=True)
