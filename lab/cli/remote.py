"""What commands that talk to a server share: finding it, and its errors as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.cli.output import print_json
from nodes.base.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from tcplab.client import Controller, errors
from tcplab.client.address import default_socket


@contextmanager
def controller_at(address: str | None) -> Iterator[Controller]:
    """The server's controller. Its errors are raised as TcplabErrors.

    For a server that others can reach, TCPLAB_TOKEN holds the token, TCPLAB_CA the file of its certificate's signer.
    """
    token, ca = os.environ.get("TCPLAB_TOKEN", ""), os.environ.get("TCPLAB_CA")
    try:
        with Controller(address or f"unix:{default_socket()}", ca=ca, token=token) as controller:
            yield controller
    except errors.NotFound as error:
        raise NotFound(str(error)) from None
    except errors.AlreadyExists as error:
        raise AlreadyExists(str(error)) from None
    except errors.InvalidArgument as error:
        raise InvalidArgument(str(error), error.field) from None
    except errors.PermissionDenied as error:
        raise PermissionDenied(str(error)) from None
    except errors.Unavailable as error:
        where = address or f"unix:{default_socket()}"
        raise FailedPrecondition(f"no server answers at {where} ({error}); `tcplab serve` starts one") from None
    except errors.Error as error:
        raise FailedPrecondition(str(error)) from None


def run_on_server(
    address: str,
    text: str,
    seed: int | None,
    out: Path | None,
    as_json: bool,
    backend: str = "",
    controls: Sequence[Path] = (),
) -> bool:
    """Run an experiment there with the congestion controls of these files, print its report; with `out` its files are
    copied here. Whether it passed."""
    with controller_at(address) as controller:
        run = controller.start_run(text + "\n", seed=seed, backend=backend, congestion_controls=controls)
        message = run.wait()
        if out is not None:
            run.save(out)
    directory = str(out) if out is not None else message.directory
    if as_json:
        print_json(
            {
                "name": message.experiment,
                "seed": message.seed,
                "ok": run.passed,
                "problems": [message.error] if message.error else [],
                "expectations": [
                    {"ok": one.passed, "expected": one.expectation, "found": one.found} for one in message.results
                ],
                "directory": directory,
                "lab_time_ns": message.time_ns,
                "backend": message.backend,
                "warnings": list(message.fidelity.warnings),
                "run": run.name,
                "state": run.state,
            }
        )
        return run.passed
    print(f"{message.experiment}, seed {message.seed}: {run.state.lower()} at {message.time_ns / 1e9:g} s of lab time")
    if message.error:
        print(f"  PROBLEM  {message.error}")
    for one in message.results:
        print(f"  {'ok  ' if one.passed else 'FAIL'}  {one.expectation}")
        if not one.passed:
            print(f"        found: {one.found}")
    for warning in message.fidelity.warnings:
        print(f"  WARNING  {warning}")
    print(f"Run: {directory}{'' if out is not None else ' (on the server)'}")
    return run.passed
