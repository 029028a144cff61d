"""`tcplab py`, and inside a node `tcplab ss`, `tcplab ping` ...: programs over a node's TCP."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from lab.cli import sockets
from lab.cli.labs import Address
from nodes import shims
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound

#: Those that people ask a node for; the node's PATH has more.
_INSIDE: Final = ("ping", "ss", "netstat", "nstat", "nc", "curl", "iperf", "iperf3")
#: Of these, what also works from outside, in virtual time too.
_OUTSIDE: Final = ("ss", "netstat")
_RAW: Final = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
#: A node has its Python in a variable; kind linux has the machine's.
_PYTHON: Final = ("sh", "-c", 'exec "${TCPLAB_PYTHON:-python3}" -u "$@"', "py")
#: Where the script's file is not seen, its text goes along: this is what runs it as that file.
_BOOT: Final = (
    "import os,sys;sys.argv=sys.argv[1:];__file__=sys.argv[0];"
    "exec(compile(os.environ.pop('TCPLAB_SCRIPT'),__file__,'exec'))"
)
#: The longest text of a script that a variable holds (Linux: 32 pages).
_LONGEST: Final = 130_000


def add_to(app: typer.Typer) -> None:
    settings = {**_RAW, "allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}
    app.command("py", context_settings=settings)(py)
    for name in _INSIDE:
        context = {**_RAW, "allow_interspersed_args": False}
        app.command(name, context_settings=context, rich_help_panel="Inside a node")(_inside(name))


def _inside(name: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        if name in _OUTSIDE and not sockets.at_node():
            raise typer.Exit(sockets.tell(name, context.args))
        os.environ.setdefault("TCPLAB_PYTHON", sys.executable)
        program = os.path.join(shims.DIRECTORY, name)  # noqa: PTH118 - as it is said there
        os.execv(program, [program, *context.args])

    other = f"{name} LAB NODE" if name in _OUTSIDE else f"exec LAB NODE -- {name}"
    run.__doc__ = f"{name} of this node's TCP/IP; from outside: `tcplab {other} ...`."
    return run


def py(
    words: Annotated[list[str], typer.Argument(metavar="[[LAB] NODE] SCRIPT [ARGUMENTS]...")],
    server: Address = None,
) -> None:
    """Run a Python program over a node's TCP: `tcplab py LAB h1 server.py 8080`. It needs no change: socket,
    socketserver, http, urllib, asyncio, selectors and ssl are over the node's stack, and names are those of nodes.

    LAB may be left out when the server has one lab; inside a node, NODE too. The exit code is the program's.
    """
    at = next((index for index, word in enumerate(words[:3]) if word.endswith(".py") or word == "-"), -1)
    if at < 0:
        raise InvalidArgument(f"SCRIPT: none of {' '.join(words[:3])} is a file that ends in .py", "script")
    if at == 0:
        _here(words)
    from lab.cli.nodes import pass_through
    from lab.cli.remote import controller_at

    with controller_at(server) as controller:
        labs = [one.info().name.rpartition("/")[2] for one in controller.labs()] if at == 1 else [words[0]]
        if len(labs) != 1:
            raise InvalidArgument(f"LAB: is missing; there are {', '.join(labs) or 'none'}", "lab")
        where = controller.lab(labs[0])
        backend = where.info().backend
        argv, variables = _command(words[at:], backend == "docker" or not _is_local(server))
        with where.node(words[at - 1]).exec(argv, env=variables, cwd="/" if variables else str(Path.cwd())) as command:
            code = pass_through(command)
    if code:
        raise typer.Exit(code)


def _is_local(server: str | None) -> bool:
    return server is None or server.startswith("unix:")


def _command(words: list[str], elsewhere: bool) -> tuple[list[str], dict[str, str]]:
    """The command of a script and its arguments; `elsewhere`: the node does not see our files."""
    if words[0] == "-":
        return [*_PYTHON, *words], {}
    script = Path(words[0])
    if not script.is_file():
        raise NotFound(f"{script}: there is no such file")
    if not elsewhere:
        return [*_PYTHON, str(script.resolve()), *words[1:]], {}
    text = script.read_text("utf-8")
    if len(text.encode()) > _LONGEST:
        raise FailedPrecondition(
            f"{script} is longer than {_LONGEST} bytes, which is what can be sent along; `tcplab cp` it to the node, "
            "and run it there with `tcplab exec LAB NODE -- python3 ...`"
        )
    return [*_PYTHON, "-c", _BOOT, script.name, *words[1:]], {"TCPLAB_SCRIPT": text}


def _here(words: list[str]) -> None:
    """On this node. Does not return."""
    from nodes.shims.line import Line, NotAtNode

    try:
        Line().close()
    except NotAtNode:
        raise FailedPrecondition(
            "this is no node of a lab, where `tcplab py SCRIPT` runs; from outside: tcplab py LAB NODE SCRIPT"
        ) from None
    path = os.environ.get("PATH", os.defpath)
    environment = {**os.environ, **shims.environment(path, os.environ.get("PYTHONPATH", ""))}
    os.execve(sys.executable, [sys.executable, *words], environment)
