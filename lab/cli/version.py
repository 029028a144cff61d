"""`tcplab version`: what is running."""

from __future__ import annotations

import typer

from lab.cli.output import Json, print_json, print_table


def add_to(app: typer.Typer) -> None:
    app.command("version")(version)


def version(as_json: Json = False) -> None:
    """Say which tcplab this is, on which Python, and whether its hot code is compiled."""
    import importlib.metadata
    import platform

    import nodes.tcp.connection as hot
    from lab.shipped import why_pure

    facts = {
        "tcplab": importlib.metadata.version("tcplab"),
        "python": platform.python_version(),
        "build": f"pure Python: {why_pure()}" if str(hot.__file__).endswith(".py") else "compiled",
    }
    if as_json:
        print_json(facts)
    else:
        print_table(facts.items())
