"""The process beside a container with the kernel's stack, when the container was started again: `python -c` runs it."""

from __future__ import annotations

import os
import select
import signal
import socket
from functools import partial

from lab.backends.docker.inside import Inside
from lab.backends.docker.job import Job, do_job
from lab.backends.real.fork import die_with
from lab.fabric.namespaces import Namespace
from nodes.agent.line import LineReader


def main(line: int, container: int, parent: int) -> None:
    """Take a job on the descriptor `line` and do it in the network namespace of process `container`."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=line) as connection:
        os.set_inheritable(line, False)
        reader = LineReader(connection)
        messages = reader.read()
        while not messages and not reader.ended:
            select.select((connection,), (), ())
            messages = reader.read()
        if messages:
            Namespace.of(container).enter()
            do_job(connection, Job(**messages[0]["job"]), partial(Inside, container))
