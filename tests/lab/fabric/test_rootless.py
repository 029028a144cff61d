"""Labs without root: children become nobody first, and never come back."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.fabric import libc, rootless
from lab.fabric.capabilities import capabilities, require
from lab.fabric.fabric import Fabric
from lab.topology.loader import topology_from_mapping
from nodes.base.errors import ResourceExhausted
from nodes.drivers.packet_socket import PacketSocket

pytestmark = pytest.mark.requires("root")

NOBODY = 65534


def in_a_process(work: Callable[..., object], *arguments: int, rights: bool = True) -> str:
    """What a function of this module returns, or how it fails, in a process of its own, without threads."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {__name__} as m; m.main()",
            work.__name__,
            *map(str, (int(rights), *arguments)),
        ],
        capture_output=True,
        pass_fds=arguments,
        check=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    return ran.stdout


def main() -> None:
    """What such a process does."""
    _, name, rights, *arguments = sys.argv
    if not int(rights):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        libc.set_dumpable()
    try:
        said = repr(globals()[name](*map(int, arguments)))
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    sys.stdout.write(said)


def as_nobody(work: Callable[..., object], *arguments: int) -> str:
    """The same, without any right."""
    return in_a_process(work, *arguments, rights=False)


def pair(kind: str) -> Any:
    return topology_from_mapping({"nodes": {"h1": kind, "h2": kind}, "links": ["h1-h2"]})


def say_hello() -> tuple[str, str, bytes]:
    before = rootless.standing()
    require(pair("linux"))
    fabric = Fabric(pair("linux"), {"h1-h2"})
    ends = []
    for node, address in (("h1", "10.0.0.1"), ("h2", "10.0.0.2")):
        with fabric.nodes[node].entered():
            ends.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ends[-1].bind((address, 7))
        ends[-1].settimeout(10)
    ends[0].sendto(b"hello", ("10.0.0.2", 7))
    return before, rootless.standing(), ends[1].recv(100)


def test_a_fabric_needs_no_root() -> None:
    assert as_nobody(say_hello) == "('', 'user namespace', b'hello')"


def send_a_frame() -> list[bytes]:
    rootless.become_root()
    fabric = Fabric(pair("host"), ())
    with fabric.nodes["h1"].entered():
        node = PacketSocket("eth0")
    with fabric.engine.entered():
        far = PacketSocket(fabric.ports["h1:eth0"])
    node.send(b"\x02" * 12 + b"\x12\x34hello")
    return [frame for _, frame in far.receive(10)]


def test_frames_cross_without_root() -> None:
    assert as_nobody(send_a_frame) == repr([b"\x02" * 12 + b"\x12\x34hello"])


def make_a_file(directory: int) -> None:
    rootless.become_root()
    os.close(os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=directory))


def test_files_made_there_belong_to_the_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "..").resolve().chmod(0o755)
    directory = os.open(tmp_path, os.O_PATH)  # whoever may not go there by name

    assert as_nobody(make_a_file, directory) == "None"
    os.close(directory)
    assert (tmp_path / "made").stat().st_uid == NOBODY


def take_with_threads() -> str:
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        rootless._take()
    finally:
        ended.set()
        thread.join()
    return "taken"


def test_a_process_with_threads_is_told_so() -> None:
    assert as_nobody(take_with_threads) == "Unsupported: a user namespace must be taken before a process has threads"


def drop_rights() -> None:
    """Be root as in a container: of the rights here only CAP_SETFCAP stays, without which nobody may map root.

    prctl(PR_SET_SECUREBITS): exec brings nothing back; capset(2); prctl(PR_CAP_AMBIENT): nor takes it.
    """
    libc = ctypes.CDLL(None)
    assert libc.prctl(28, 0x3, 0, 0, 0) == 0
    assert libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", *[1 << 31] * 3, 0, 0, 0)) == 0
    assert libc.prctl(47, 2, 31, 0, 0) == 0


def forbid_and_require() -> None:
    rootless.become_root()
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    drop_rights()
    try:
        require(pair("host"))
    finally:
        assert rootless.standing() == ""


def test_where_user_namespaces_are_forbidden_it_says_why() -> None:
    """In a user namespace of our own, its limit for those inside it is ours to set."""

    said = as_nobody(forbid_and_require)
    assert said.startswith("Unsupported: labs on real interfaces need root, or a user namespace")
    assert "sysctl user.max_user_namespaces is 0" in said and "use the backend sim" in said


def make_too_many() -> int:
    rootless.become_root()
    before = len(list(Path("/proc/self/fd").iterdir()))
    Path("/proc/sys/user/max_net_namespaces").write_text("2")
    with pytest.raises(ResourceExhausted, match="max_net_namespaces"):
        Fabric(pair("linux"), ())
    return len(list(Path("/proc/self/fd").iterdir())) - before


def test_too_many_namespaces_are_refused_and_leave_nothing() -> None:
    assert as_nobody(make_too_many) == "0"


def rootless_forbidden() -> str:
    return rootless.forbidden()


def test_capabilities_say_as_what() -> None:
    as_root = {one.name: one for one in capabilities()}
    assert as_root["real-interfaces"].available and as_root["real-interfaces"].reason == "as root"
    assert all(as_root[name].available for name in ("engine-link", "engine-direct", "linux-nodes", "programs"))
    assert "reno" in as_root["congestion-control"].reason
    assert in_a_process(rootless_forbidden) == repr("")
    assert all(one.available or one.reason for one in as_root.values())


def ask_without_rights() -> tuple[object, ...]:
    drop_rights()
    found = {one.name: one for one in capabilities()}
    return found["real-interfaces"].reason, found["trace-tracefs"].available, rootless.standing()


def test_capabilities_without_root_leave_the_asker_as_it_is() -> None:
    """By uid 0 without rights, which may run this interpreter wherever it is."""

    assert in_a_process(ask_without_rights) == "('without root, in a user namespace', False, '')"
