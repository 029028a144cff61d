"""What this machine can do for labs in network namespaces: tried in a namespace that is thrown away, never assumed."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lab.backends.base import Capability
from lab.engine.netem import netem_missing
from lab.fabric import bridge, libc, rootless
from lab.fabric.host import prepare_kernel, quieten
from lab.fabric.links import make_pair, set_up
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import Netlink
from lab.topology.file import NETEM
from lab.topology.model import Interface, Topology
from nodes.base.errors import TcplabError, Unsupported
from nodes.drivers.packet_socket import PacketSocket
from nodes.kernel import sysctls

_HERE: Final = Interface("probe", "eth0", 0, "probe", bytes.fromhex("020000000001"), b"\x0a\0\0\x01", 24, 1500)

#: SOCK_DIAG_BY_FAMILY: a dump of TCP sockets in any state (linux/inet_diag.h).
_DIAG_REQUEST: Final = struct.pack("=IHHII", 72, 20, 0x301, 1, 0) + struct.pack(
    "=BBBBI48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF
)
_NETLINK_SOCK_DIAG: Final = 4
_NLMSG_ERROR: Final = 2

#: Runs in another process, which imports from where this one does.
_IN_PROCESS: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from lab.fabric.capabilities import print_capabilities
print_capabilities()
"""


def capabilities() -> Sequence[Capability]:
    """What labs can do here, and why not. Changes nothing, whatever threads and loops the calling process has."""
    if rootless.has_rights():
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(_ask).result()
    command = [sys.executable, "-c", _IN_PROCESS, json.dumps(sys.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unsupported(f"asking the kernel failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return [Capability(**one) for one in json.loads(done.stdout)]


def print_capabilities() -> None:
    """Print them as JSON: those of a lab that this process would make. The process is no longer what it was."""
    try:
        rootless.become_root()
        found = _ask()
    except Unsupported as error:
        found = [Capability("real-interfaces", False, str(error))]
    print(json.dumps([dataclasses.asdict(one) for one in found]))


def require(topology: Topology) -> None:
    """Have the right to build the topology, by taking a user namespace where there is no other way.

    To be called before the process has threads. Raises Unsupported, naming what this machine lacks for it.
    """
    rootless.become_root()
    if any(wire.engine == NETEM for wire in topology.links.values()):
        space = Namespace()
        try:
            with space.entered():
                missing = netem_missing()
        finally:
            space.close()
        if missing:
            raise Unsupported(missing)


def _ask() -> list[Capability]:
    """Leaves the calling thread in a place of its own: it should end then."""
    try:
        space = Namespace()
    except TcplabError as error:
        return [Capability("real-interfaces", False, str(error))]
    space.enter()
    way = "as root" if rootless.standing() == rootless.ROOT else "without root, in a user namespace"
    answers = [
        _tried("real-interfaces", lambda: _veth(space), way),
        _tried("engine-link", _packet_ring),
        _tried("engine-direct", _bridge),
        _answer("engine-netem", netem_missing()),
        Capability("packet-rules", True),
        Capability("attacks", True),
        Capability("capture", True),
        _tried("linux-nodes", prepare_kernel),
        _congestion_control(),
        _tried("trace-sock-diag", _sock_diag),
        _tried("trace-tracefs", _tracefs),
        _tried("real-time-priority", _fifo),
        Capability("virtual-time", False, "real interfaces have real time; the backend sim has virtual time"),
        Capability(
            "deterministic", False, "each packet has the chances of virtual time, but the machine's delays; sim has not"
        ),
    ]
    # Last: a thread that has done this can start no other.
    answers.insert(-2, _tried("programs", lambda: libc.unshare(libc.CLONE_NEWPID | libc.CLONE_NEWNS)))
    space.close()
    return answers


def _tried(name: str, attempt: Callable[[], object], how: str = "") -> Capability:
    try:
        attempt()
    except TcplabError as error:
        return Capability(name, False, str(error))
    except OSError as error:
        return Capability(name, False, f"{error.strerror}; {_NEEDS[name]}" if name in _NEEDS else str(error))
    return Capability(name, True, how)


def _answer(name: str, reason: str) -> Capability:
    return Capability(name, not reason, reason)


#: What is missing when the kernel says no.
_NEEDS: Final = {
    "trace-sock-diag": "the kernel lacks the modules inet_diag and tcp_diag",
    "trace-tracefs": "it needs root itself and a kernel with tracefs: states are inferred from segments instead",
    "real-time-priority": "it needs root itself (or RLIMIT_RTPRIO): under load, links are less punctual",
    "programs": "commands on nodes need process and mount namespaces",
}


def _veth(space: Namespace) -> None:
    quieten()
    with Netlink() as netlink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        make_pair(netlink, _HERE, space, "e1", kernel=False)
        set_up(probe, "e1")
        set_up(probe, "eth0")


def _packet_ring() -> None:
    packets = PacketSocket("eth0")
    ring = packets.has_ring
    packets.close()
    if not ring:
        raise Unsupported("packet sockets have no ring here (CONFIG_PACKET_MMAP); they work, but slower")


def _bridge() -> None:
    with Netlink() as netlink:
        bridge.prepare()
        bridge.splice(netlink, "a bridge", "b1", ("eth0", "e1"))
        bridge.unsplice(netlink, "a bridge", "b1")


def _sock_diag() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as diag:
        diag.send(_DIAG_REQUEST)
        answer = diag.recv(65536)
    if struct.unpack_from("=H", answer, 4)[0] == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, 16)[0] or errno.EIO
        raise OSError(code, os.strerror(code))


def _tracefs() -> None:
    root = libc.open_filesystem("tracefs")
    try:
        os.close(os.open("events/sock/inet_sock_set_state/id", os.O_RDONLY, dir_fd=root))
    finally:
        os.close(root)


def _fifo() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _congestion_control() -> Capability:
    """Which the kernel has; those that a node cannot have as its default it may have per socket."""
    available = _words("net.ipv4.tcp_available_congestion_control")
    default = [one for one in available if _settable(one)]
    others = [one for one in available if one not in default]
    text = f"as a node's default: {' '.join(default) or 'none'}"
    if others:
        text += f"; for a socket only (TCP_CONGESTION): {' '.join(others)}"
    return Capability("congestion-control", bool(available), text)


def _settable(algorithm: str) -> bool:
    try:
        sysctls.write_all({"tcp_congestion_control": algorithm})
    except TcplabError:
        return False
    return True


def _words(sysctl: str) -> Iterable[str]:
    return (Path("/proc/sys") / sysctl.replace(".", "/")).read_text().split()
