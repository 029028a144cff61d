"""The `tcplab` command: one file per group of commands, errors as one clear line.

Exit codes: 0 done (and every expectation holds), 1 an expectation fails, 2 bad input, 3 it could not be done.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import typer

from lab.cli import (
    agent,
    catalogue,
    container,
    doctor,
    graph,
    importing,
    labs,
    measure,
    nodes,
    packetdrill,
    programs,
    reap,
    run,
    serve,
    shell,
    show,
    validate,
    version,
)
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound, TcplabError

BAD_INPUT: Final = 2
NOT_DONE: Final = 3

app = typer.Typer(
    name="tcplab",
    help="A TCP lab: experiments in virtual time, their traces, and the server for clients over gRPC.\n\n"
    "Every option can be given by an environment variable too: --seed of `run` is TCPLAB_RUN_SEED.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "TCPLAB"},
)
for module in (
    run,
    show,
    validate,
    catalogue,
    serve,
    labs,
    nodes,
    packetdrill,
    shell,
    programs,
    reap,
    measure,
    doctor,
    graph,
    importing,
    version,
    agent,
    container,
):
    module.add_to(app)


def main() -> None:
    """Entry point of the command."""
    try:
        app()
    except TcplabError as error:
        sys.exit(fail(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough (`tcplab show ... | head`).
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"tcplab: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)


def fail(error: Any) -> int:
    """Print an error as one line; the exit code that it means."""
    text = " ".join(str(error).split())
    print(f"tcplab: {text}", file=sys.stderr)
    return BAD_INPUT if isinstance(error, (InvalidArgument, NotFound, AlreadyExists)) else NOT_DONE


if __name__ == "__main__":
    main()
