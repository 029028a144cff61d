"""The line from a script to its keeper."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import cache
from typing import Any, Final

from nodes.agent.line import LineReader, pack
from nodes.agent.plain import error_of
from nodes.base.errors import FailedPrecondition, InvalidArgument

#: A script's environment: a directory for its trace (none: no trace), and the seed of its links' chances.
RUN: Final = "TCPLAB_RUN"
SEED: Final = "TCPLAB_SEED"

#: Runs in another process, which imports from where this one does.
_IN_PROCESS: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lab.backends.mininet.keeper import main
main(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
"""


class Keeping:
    """Starts a keeper, which ends with this process. One call at a time."""

    def __init__(self) -> None:
        seed = os.environ.get(SEED, "1")
        if not seed.isdecimal():
            raise InvalidArgument(f"{SEED}={seed}: a seed is a number from 0", SEED)
        self._line, theirs = socket.socketpair()
        arguments = [json.dumps(sys.path), str(theirs.fileno()), os.environ.get(RUN, ""), seed, sys.argv[0]]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _IN_PROCESS, *arguments], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),)
            )
        self._reader = LineReader(self._line)

    def __call__(self, do: str, **arguments: Any) -> Any:
        """Have the keeper do something. Raises what it raises; FailedPrecondition when it is gone."""
        try:
            self._line.sendall(pack({"do": do, **arguments}))
            while True:
                self._line.recv(1, socket.MSG_PEEK)
                answers = self._reader.read()
                if answers:
                    break
                if self._reader.ended:
                    raise ConnectionResetError
        except OSError:
            raise FailedPrecondition(f"the process that keeps tcplab's part of the network is gone ({do})") from None
        (answer,) = answers
        if "error" in answer:
            raise error_of(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End it, and wait until its trace is complete."""
        self._line.close()
        self._process.wait()


@cache
def keeping() -> Keeping:
    """That of this process: hosts and links find it here, because Mininet makes them of their classes alone."""
    import atexit

    found = Keeping()
    atexit.register(found.close)
    return found
