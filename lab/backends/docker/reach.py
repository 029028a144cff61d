"""Where an agent is, and how one speaks to it first: what a lab and health checks need, without what an agent does."""

from __future__ import annotations

import dataclasses
import select
import socket
from typing import TYPE_CHECKING, Final

from nodes.agent.line import LineReader, Message, pack

if TYPE_CHECKING:
    from lab.backends.docker.job import Job

#: How ss(8) writes the abstract name.
ADDRESS: Final = "@tcplab-agent"
_ANSWERS_WITHIN_S: Final = 3.0


def bound(address: str) -> str:
    """An address as sockets have it."""
    return f"\0{address[1:]}" if address.startswith("@") else address


def connect(job: Job, address: str = ADDRESS) -> socket.socket:
    """Give a job to an agent; an abstract address is one of the calling thread's network namespace. Raises OSError when
    there is none."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(bound(address))
        give(line, job)
    except BaseException:
        line.close()
        raise
    return line


def give(line: socket.socket, job: Job) -> None:
    """Say on a line what is to be done there."""
    line.sendall(pack({"job": dataclasses.asdict(job)}))


def status(address: str = ADDRESS) -> Message | None:
    """What an agent says of itself; None when there is none, or it hangs."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_ANSWERS_WITHIN_S)
        try:
            line.connect(bound(address))
            line.sendall(pack({"status": True}))
            reader = LineReader(line)
            poll = select.poll()
            poll.register(line, select.POLLIN)
            while not (messages := reader.read()):
                if reader.ended or not poll.poll(int(_ANSWERS_WITHIN_S * 1000)):
                    return None
        except OSError:
            return None
    return messages[0]
