"""`Programs`: programs on the nodes of a lab in real time. Each node has a shell of its own that stays.

So `h1 cd /tmp`, variables and background jobs are there in the next command, and all of it ends with us.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tcplab.client import Command, Lab, errors

#: Says before which line a command is, so that input nobody read is no command; the end of its output and its exit code
#: are said by the same mark. SIGINT ends the program in the foreground, and not the shell. What still runs at the end
#: of its input ends with it.
_LOOP: Final = r"""
exec 2>&1
trap : INT
_code() { return "$1"; }
_mark=$1 _input=$2 _last=0
while :; do
    IFS= read -r _line || { [ $? -gt 128 ] && continue; break; }
    case $_line in "$_mark"*)
        if [ -n "$_input" ]; then _code "$_last"; eval "${_line#"$_mark"}"
        else _code "$_last"; eval "${_line#"$_mark"}" </dev/null
        fi
        _last=$?
        printf '%s%d\n' "$_mark" "$_last";;
    esac
done
kill -KILL 0
"""
_START: Final = (
    'command -v bash >/dev/null 2>&1 && exec bash --norc --noprofile -c "$0" "$@"; exec sh -c "$0" "$@"'  # of any image
)


class Programs:
    """Programs on the nodes of `lab`. With `interactive` they get what is typed while they run."""

    def __init__(self, lab: Lab, interactive: bool) -> None:
        self._lab = lab
        self._interactive = interactive
        self._shells: dict[str, NodeShell] = {}

    def run(self, node: str, line: str) -> Iterator[bytes]:
        """What a command says, as it comes. Raises Error."""
        shell = self._shells.get(node)
        if shell is None or shell.ended:
            shell = self._shells[node] = NodeShell(self._start(node), self._interactive)
        return shell.run(line)

    def _start(self, node: str) -> tuple[Command, bytes]:
        mark = f"\x7f{secrets.token_hex(8)}:"
        argv = ["sh", "-c", _START, _LOOP, "tcplab", mark, "1" if self._interactive else ""]
        place = self._lab.node(node)
        try:
            return place.exec(argv, cwd=str(Path.cwd())), mark.encode()
        except errors.NotFound as error:
            if "cwd" not in str(error):
                raise
            return place.exec(argv), mark.encode()  # a node with files of its own

    def close(self) -> None:
        """End all of them."""
        for shell in self._shells.values():
            shell.close()


class NodeShell:
    """The shell of one node."""

    def __init__(self, started: tuple[Command, bytes], interactive: bool) -> None:
        self._command, self._mark = started
        self._interactive = interactive
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        self._early = b""
        self.ended = False
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, line: str) -> Iterator[bytes]:
        """What a command says, as it comes, also what jobs in the background have said since the last one."""
        self._command.write(self._mark + line.encode("utf-8", "surrogateescape") + b"\n")
        with self._interrupts():
            held, self._early = self._early, b""
            while (data := self._next()) is not None:
                held += data
                before, found, after = held.partition(self._mark)
                if found and b"\n" in after:
                    yield before
                    # What a job in the background says right behind comes with the next command.
                    self._early = after.partition(b"\n")[2]
                    return
                safe = held.rfind(self._mark[:1])
                cut = len(held) if safe < 0 else safe
                yield held[:cut]
                held = held[cut:]
            self.ended = True
            yield held

    def close(self) -> None:
        """End it and what it started."""
        self._command.kill()

    def _next(self) -> bytes | None:
        """The next piece; None when it has ended. Meanwhile what is typed goes to the command."""
        typed = 0 if self._interactive else -1
        while True:
            ready, _, _ = select.select([self._wake_read] + ([typed] if typed >= 0 else []), [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 1)
                return self._said.get()
            if data := os.read(typed, 4096):
                self._command.write(data)
            else:
                typed = -1

    def _listen(self) -> None:
        with contextlib.suppress(errors.Error, ValueError):
            for _, data in self._command.output():
                self._said.put(data)
                os.write(self._wake_write, b"+")
        self._said.put(None)
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"+")

    @contextlib.contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Ctrl-C is the command's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupt(*_: Any) -> None:
            self._command.signal("INT")
            sys.stdout.write("\n")

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
