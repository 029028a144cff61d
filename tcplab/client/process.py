"""A controller of one's own: a child process that ends with whoever started it, however that ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tcplab.client.errors import Unavailable

#: Wall seconds it has to end its labs after its standard input was closed.
_PATIENCE: Final = 10.0
#: Its name in the directory.
SOCKET: Final = "socket"
#: In a directory whose path has so many characters, a socket's has no room for long names (unix(7), sun_path).
_LONG: Final = 40


class PrivateController:
    """Starts `tcplab serve` on a socket in a temporary directory and waits until it takes calls.

    It ends when its standard input does, so also when this process is killed. `runs` is where its labs leave their
    files: a directory that stays, or (None) one that goes with it. Raises Unavailable when it does not come up.
    """

    def __init__(self, runs: Path | str | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=_prefix()))
        log = self._directory / "log"
        # -P: a lab.py in the user's directory is not ours.
        command = [
            sys.executable,
            "-P",
            "-m",
            "lab.cli.main",
            "serve",
            "--socket",
            str(self._directory / SOCKET),
            "--runs",
            str(Path(runs).absolute() if runs is not None else self._directory / "runs"),
            "--until-eof",
            "--allow-code",  # it is the user's own
        ]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal is for the program, which then deletes its labs
            )
        assert self._process.stdout is not None
        #: What it can be reached at.
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            words = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
            self.stop()
            if "No module named" in words:
                words += "; no controller is running, and to start one takes: pip install tcplab[sim]"
            raise Unavailable(f"the controller ended at once: {words or 'it said nothing'}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> None:
        """End it, its labs, and its directory. Idempotent."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _prefix() -> str:
    """Tells this process from whoever has its number later, as the names of what `tcplab reap` removes do, so that the
    directory does not stay for ever when we are killed."""
    try:
        start = Path("/proc/self/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
        namespace = str(Path("/proc/self/ns/pid").readlink()).partition("[")[2].rstrip("]")
    except OSError:  # a system without /proc
        return "tcplab-"
    return f"tcplab-{os.getpid()}-{start}-{namespace}-" if len(tempfile.gettempdir()) < _LONG else "tcplab-"
