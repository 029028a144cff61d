"""`tcplab logs` and `tcplab cp`: what a node's container prints, and files to and from nodes of any kind."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lab.cli.labs import Address
from lab.cli.output import Json, print_json
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from tcplab.client import Command, Node

_PIECE: Final = 1 << 18


def add_to(app: typer.Typer) -> None:
    app.command("logs")(logs)
    app.command("cp")(copy)


def logs(
    lab: Annotated[str, typer.Argument(help="Name of a lab on backend docker.")],
    node: Annotated[str, typer.Argument(help="A node.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is printed from now on.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="Only so many last lines; 0: all.")] = 0,
    server: Address = None,
) -> None:
    """Print what a node's container has printed."""
    from lab.cli.remote import controller_at

    with controller_at(server) as controller:
        for piece in controller.lab(lab).node(node).logs(tail=tail, follow=follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def copy(
    lab: Annotated[str, typer.Argument(help="Name of a lab.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file or directory: NODE:PATH, or PATH here.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Where to: PATH here, or NODE:PATH.")],
    server: Address = None,
    as_json: Json = False,
) -> None:
    """Copy a file or directory to or from a node: `tcplab cp LAB h1:/etc/hosts .`; an existing directory takes it under
    its own name. The node must have tar.
    """
    from lab.cli.remote import controller_at

    from_node, to_node = _node_of(source), _node_of(target)
    if bool(from_node) == bool(to_node):
        raise InvalidArgument("one of SOURCE and TARGET is on a node, as h1:/etc/hosts; the other is here", "target")
    with controller_at(server) as controller:
        node = controller.lab(lab).node(from_node or to_node)
        if from_node:
            size = _fetch(node, _path_of(source), Path(target))
        else:
            size = _bring(node, Path(source), _path_of(target))
    if as_json:
        print_json({"source": source, "target": target, "bytes": size})


def _node_of(argument: str) -> str:
    """The node of NODE:PATH; "" of a path here, which may have a colon after a slash."""
    node, colon, _ = argument.partition(":")
    return node if colon and "/" not in node else ""


def _path_of(argument: str) -> PurePosixPath:
    text = argument.partition(":")[2]
    path = PurePosixPath(text)
    if not path.is_absolute():
        raise InvalidArgument(f"{argument}: a path on a node begins with /", "source")
    return path


def _fetch(node: Node, path: PurePosixPath, target: Path) -> int:
    """Bytes of files that came."""
    place = target / path.name if target.is_dir() else target
    with node.exec(["tar", "-c", "-f", "-", "-C", str(path.parent), "--", path.name or "."]) as command:
        command.end_input()
        said = _Output(command)
        size = 0
        try:
            with tarfile.open(fileobj=said, mode="r|") as archive:
                for entry in archive:
                    inner = PurePosixPath(entry.name).relative_to(path.name) if path.name else PurePosixPath(entry.name)
                    entry.name = str(PurePosixPath(place.name) / inner)
                    archive.extract(entry, place.parent, filter="data")
                    size += entry.size
        except tarfile.ReadError:
            pass  # it says why on standard error
        said.end(f"{node.name}:{path}")
    return size


def _bring(node: Node, source: Path, path: PurePosixPath) -> int:
    """Bytes of files that went."""
    if not source.exists():
        raise NotFound(f"{source}: there is no such file here")
    if node.run(["test", "-d", str(path)]).code == 0:
        path = path / source.resolve().name
    size = 0

    def owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        nonlocal size
        size += entry.size
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        return entry

    with node.exec(["tar", "-x", "-o", "-f", "-", "-C", str(path.parent)]) as command:
        with tarfile.open(fileobj=_Input(command), mode="w|") as archive:
            archive.add(source.resolve(), path.name, filter=owned_by_root)
        command.end_input()
        _Output(command).end(f"{node.name}:{path}")
    return size


class _Input(io.RawIOBase):
    """The standard input of a command as a file."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._command.write(bytes(data))
        return len(data)


class _Output(io.RawIOBase):
    """The standard output of a command as a file."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._pieces: Iterator[tuple[str, bytes]] = command.output()
        self._held = b""
        self._errors = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes, but at the end."""
        parts = [self._held]
        length = len(self._held)
        while size < 0 or length < size:
            stream, data = next(self._pieces, ("", b""))
            if not stream:
                break
            if stream == "stderr":
                self._errors += data
            else:
                parts.append(data)
                length += len(data)
        found = b"".join(parts)
        if size < 0:
            size = len(found)
        self._held = found[size:]
        return found[:size]

    def end(self, what: str) -> None:
        """Raises NotFound, FailedPrecondition when it has failed."""
        while self.read(_PIECE):
            pass
        if self._command.wait().code == 0:
            return
        words = self._errors.decode("utf-8", "replace").strip().split("\n")[0]
        error = NotFound if "No such file" in words or "Cannot open" in words else FailedPrecondition
        raise error(f"{what}: {words or 'tar fails there'}")
