"""`tcplab serve`: the controller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.output import Json, print_json
from nodes.base.errors import InvalidArgument


def add_to(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    socket: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Unix socket to serve on. Not given: $XDG_RUNTIME_DIR/tcplab/controller.sock, "
            "else ~/.tcplab/controller.sock.",
        ),
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Where labs and experiments leave their files. Not given: ~/.tcplab/runs.", envvar="TCPLAB_RUNS"
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Where the journal of real-time labs is, so that they can be adopted or removed. Not given: labs, "
            "beside the default socket.",
            envvar="TCPLAB_STATE",
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Serve on TCP too. Beyond this machine it takes --cert, --key and a token."
        ),
    ] = "",
    cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.", exists=True, dir_okay=False)] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.", exists=True, dir_okay=False)] = None,
    token: Annotated[
        str,
        typer.Option(
            envvar="TCPLAB_TOKEN",
            help="What clients on TCP must send: metadata `authorization: Bearer TOKEN`. Better in "
            "the environment: others can see arguments.",
        ),
    ] = "",
    access: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            file_okay=False,
            help="Instead of the three: the directory that keeps a certificate (cert.pem), its key and a token, made "
            "there when they are not. Clients get cert.pem and token.",
        ),
    ] = None,
    names: Annotated[
        str,
        typer.Option(
            metavar="NAME,...", help="With --access: host names and addresses by which clients reach this server."
        ),
    ] = "localhost,127.0.0.1,::1",
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            envvar="TCPLAB_ALLOW_CODE",
            help="Run congestion controls that clients send: Python code, which may do whatever you may.",
        ),
    ] = False,
    until_eof: Annotated[
        bool,
        typer.Option("--until-eof", help="End when standard input does: for programs that start their own controller."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve the API until interrupted; then all labs end. Prints the address as soon as calls are taken.

    When it is killed, real-time labs go on, and the next one on the same socket adopts them (with --until-eof they end,
    as labs in virtual time always do). `tcplab reap` removes them.
    """
    from lab.server.controller import Settings, default_runs
    from lab.server.controller import serve as serve_here
    from lab.server.journal import default_state
    from tcplab.client.address import default_socket

    def ready(address: str) -> None:
        if as_json:
            print_json({"address": address, "listen": listen})
        else:
            print(address)
        sys.stdout.flush()

    if access is not None:
        from lab.server.access import access_in

        if cert is not None or key is not None:
            raise InvalidArgument("access: has a certificate of its own; leave out --cert and --key", "access")
        made = access_in(access, [name.strip() for name in names.split(",")], token)
        cert, key, token = made.certificate, made.key, made.token
    settings = Settings(
        socket or default_socket(),
        runs or default_runs(),
        state or default_state(),
        keep=not until_eof,
        listen=listen,
        certificate=cert,
        key=key,
        token=token,
        allow_code=allow_code,
    )
    serve_here(settings, ready, until_eof)
