"""`tcplab exec` and `tcplab capture`: commands on nodes and captures of their interfaces, on a server's labs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from lab.cli.labs import Address
from lab.cli.output import Json, print_json
from nodes.base.errors import InvalidArgument

if TYPE_CHECKING:
    from tcplab.client import Command

#: Bytes of standard input in one message.
_PIECE: Final = 1 << 16


def add_to(app: typer.Typer) -> None:
    # What follows the command's name is the command's, also what looks like an option of ours.
    app.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(execute)
    app.command("capture")(capture)


def execute(
    lab: Annotated[str, typer.Argument(help="Name of a lab.")],
    node: Annotated[str, typer.Argument(help="A node.")],
    argv: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="A program and its arguments.")],
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A variable more. Repeatable.")
    ] = None,
    cwd: Annotated[str, typer.Option(help="Directory to run it in.")] = "/",
    timeout: Annotated[str | None, typer.Option(help="Kill it after so long, such as 10s.")] = None,
    server: Address = None,
    as_json: Json = False,
) -> None:
    """Run a command on a node: `tcplab exec LAB NODE -- iperf3 -c h2`. Options come before LAB; the exit code is the
    command's.

    Standard input, output and error are the command's; with --json what it printed comes in one document.
    """
    from lab.cli.remote import controller_at

    argv = argv[1:] if argv[0] == "--" else argv
    if not argv:
        raise InvalidArgument("COMMAND: is missing; a program and its arguments follow --", "argv")
    variables = dict(_variable(one) for one in env or ())
    with controller_at(server) as controller:
        where = controller.lab(lab).node(node)
        with where.exec(argv, env=variables, cwd=cwd, timeout=timeout) as command:
            if as_json:
                command.end_input()
                done = command.wait()
                print_json(
                    {
                        "code": done.code,
                        "signal": done.signal,
                        "timed_out": done.timed_out,
                        "stdout": done.text,
                        "stderr": done.stderr.decode("utf-8", "replace"),
                    }
                )
            else:
                pass_through(command)
                done = command.wait()
    if done.timed_out:
        print(f"tcplab: {argv[0]} was ended after {timeout}", file=sys.stderr)
    if done.code:
        raise typer.Exit(done.code)


def pass_through(command: Command) -> int:
    """Our standard input, output and error are the command's, and so is the first Ctrl-C; its exit code."""
    threading.Thread(target=_feed, args=(command,), daemon=True).start()

    def interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        command.signal("INT")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        for stream, data in command.output():
            out = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
            out.write(data)
            out.flush()
        return command.wait().code
    finally:
        signal.signal(signal.SIGINT, before)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidArgument(f"--env {text!r} is not NAME=VALUE", "env")
    return name, value


def _feed(command: Command) -> None:
    """Our standard input is the command's."""
    try:
        while data := os.read(0, _PIECE):
            command.write(data)
    except OSError:  # we have none
        pass
    command.end_input()


def capture(
    lab: Annotated[str, typer.Argument(help="Name of a lab.")],
    interface: Annotated[str, typer.Argument(metavar="NODE:INTERFACE", help="Such as h1:eth0.")],
    write: Annotated[
        Path, typer.Option("--write", "-w", metavar="FILE", help="Where to write it; - is standard output.")
    ],
    so_far: Annotated[bool, typer.Option("--so-far", help="What the lab's trace has up to now, and no more.")] = False,
    server: Address = None,
) -> None:
    """Capture an interface while the lab goes on: `tcplab capture LAB h1:eth0 -w - | wireshark -k -i -`.

    In real time: what passes it from now on, with the kernel's time stamps. In virtual time: from the beginning of the
    lab. It ends with the lab, or with Ctrl-C.
    """
    from lab.cli.remote import controller_at

    with controller_at(server) as controller:
        where = controller.lab(lab)
        live = where.real_time and not so_far
        pieces = where.capture(interface, follow=not so_far, live=live)
        if str(write) == "-":
            _write_all(pieces, sys.stdout.buffer)
        else:
            with write.open("wb") as file:
                _write_all(pieces, file)


def _write_all(pieces: Iterable[bytes], file: BinaryIO) -> None:
    try:
        for piece in pieces:
            file.write(piece)
            file.flush()
    except KeyboardInterrupt:
        return
