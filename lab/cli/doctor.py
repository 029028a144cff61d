"""`tcplab doctor`: what this machine can do for labs, what it lacks, and how to get that."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from lab.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from lab.backends.base import Capability

_NOT_ALL: Final = 1

#: Packages of Python beside those that `tcplab` itself cannot start without: what for, and the extra that has it.
_PACKAGES: Final = (
    ("grpc_reflection", "the server", "sim"),
    ("pyarrow", "tables of a run (Parquet, Arrow)", "sim"),
    ("pyroute2", "backend netns", "netns"),
    ("msgpack", "backend netns", "netns"),
    ("docker", "backend docker", "docker"),
    ("matplotlib", "tcplab plot", "plots"),
)

#: Capabilities of the backend that are the same everywhere.
_OF_EVERY_MACHINE: Final = ("packet-rules", "attacks", "capture", "virtual-time", "deterministic")

#: Programs that go well with labs; none is needed. With their Debian and Ubuntu packages.
_PROGRAMS: Final = (
    ("tcpdump", "measuring links on the wire (tcplab measure)", "tcpdump"),
    ("tshark", "reading captures", "tshark"),
    ("iperf3", "traffic on linux nodes", "iperf3"),
    ("nginx", "a server on linux nodes", "nginx-light"),
    ("curl", "a client on linux nodes", "curl"),
    ("nc", "a client and server on linux nodes", "netcat-openbsd"),
    ("ip", "a look at interfaces on nodes", "iproute2"),
)


@dataclass(frozen=True)
class Finding:
    """Something that is here or not. `text` says what for, and how to get it; `needed`: without it a backend fails."""

    name: str
    present: bool
    text: str
    needed: bool = False


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(as_json: Json = False) -> None:
    """Say what this machine can do for labs, what is missing, and how to get it.

    Exit code 0: labs can be made with sim and netns by this user; 1: not with both, or this installation of tcplab is
    broken. What is optional does not count.
    """
    packages = list(_packages())
    capabilities = _capabilities()
    sections = {
        "Installation": [*_ours(), *packages],
        "Backends": list(_backends(capabilities)),
        "Real interfaces": [
            Finding(one.name, one.available, one.reason) for one in capabilities if one.name not in _OF_EVERY_MACHINE
        ],
        "Programs": list(_programs()),
    }
    well = all(finding.present for findings in sections.values() for finding in findings if finding.needed)
    if as_json:
        print_json({"well": well, **{_key(title): _plain(findings) for title, findings in sections.items()}})
    else:
        for title, findings in sections.items():
            if findings:
                print(f"{title}:")
                print_table((f"  {_mark(one)} {one.name}", one.text) for one in findings)
    raise typer.Exit(0 if well else _NOT_ALL)


def _mark(finding: Finding) -> str:
    if finding.present:
        return "ok  "
    return "FAIL" if finding.needed else "--  "


def _key(title: str) -> str:
    return title.lower().replace(" ", "_")


def _plain(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) for finding in findings]


def _ours() -> Iterator[Finding]:
    """tcplab itself. There are other packages called `lab`: whichever comes first on the path is imported."""
    ours = Path(__file__).parents[2]
    distributions = metadata.packages_distributions()
    for package in ("lab", "nodes", "tcplab"):
        places = []
        for entry in dict.fromkeys(sys.path):
            found = PathFinder.find_spec(package, [entry or os.curdir])
            if found is not None and not _within(found.origin, ours):
                places.append(f"{entry or os.curdir}")
        owners = sorted({one for one in distributions.get(package, []) if one != "tcplab"})
        text = f"{ours / package}"
        if owners:
            text = (
                f"the distribution {', '.join(owners)} brings one, too: pip uninstall {' '.join(owners)}, "
                "then pip install --force-reinstall tcplab"
            )
        elif places:
            text = f"there is another in {', '.join(places)}; whichever comes first on Python's path is imported"
        yield Finding(f"package {package}", not owners and not places, text, needed=True)


def _within(origin: str | None, directory: Path) -> bool:
    return origin is not None and Path(origin).resolve().is_relative_to(directory.resolve())


def _packages() -> Iterator[Finding]:
    for name, purpose, extra in _PACKAGES:
        present = util.find_spec(name) is not None
        text = purpose if present else f"{purpose}: pip install 'tcplab[{extra}]'"
        yield Finding(f"package {name}", present, text, needed=extra in ("sim", "netns"))


def _capabilities() -> Sequence[Capability]:
    if sys.platform != "linux" or any(util.find_spec(name) is None for name in ("pyroute2", "msgpack")):
        return []
    from lab.fabric.capabilities import capabilities

    return capabilities()


def _backends(capabilities: Sequence[Capability]) -> Iterator[Finding]:
    yield Finding("sim", True, "virtual time; any user", needed=True)
    if sys.platform != "linux":
        yield Finding("netns", False, "network namespaces are Linux's; run it in a Linux machine or container", True)
        return
    if not capabilities:
        yield Finding("netns", False, "its Python packages are missing: pip install 'tcplab[netns]'", needed=True)
        return
    from lab.backends.catalogue import REAL
    from lab.fabric.rootless import ROOT, forbidden, standing

    lacking = [one for one in capabilities if one.name in ("real-interfaces", "engine-link") and not one.available]
    yield Finding("netns", not lacking, lacking[0].reason if lacking else f"{_user()}: {capabilities[0].reason}", True)
    if standing() == ROOT:
        reason = forbidden()
        yield Finding("netns for other users", not reason, reason or "any user, in a user namespace")
    else:
        yield Finding("netns for root", True, "as root there are tracefs and real-time priority, too")
    for name in REAL[1:]:
        reason = _missing(name)
        yield Finding(name, not reason, reason)


def _missing(backend: str) -> str:
    """What there lacks for a backend. Its class may take another user for the question, so a child asks it."""
    from lab.backends.catalogue import lab_class
    from lab.fabric.child import said_by_child

    return said_by_child(lambda: lab_class(backend).missing())


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _programs() -> Iterator[Finding]:
    import shutil

    # Where a user's path does not lead, but a node's programs are found.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    for name, purpose, package in _PROGRAMS:
        present = shutil.which(name, path=path) is not None
        yield Finding(name, present, purpose if present else f"{purpose}: apt-get install {package}")
