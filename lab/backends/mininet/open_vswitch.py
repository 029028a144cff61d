"""`OpenVSwitch`: the database and the daemon of Open vSwitch, of one lab's own."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from functools import partial
from os import environ, getpid
from pathlib import Path
from typing import Final

from lab.backends.mininet.root import own_directory
from lab.backends.real.fork import die_with
from lab.fabric import rootless
from nodes.base.errors import FailedPrecondition, Unsupported

_PROGRAMS: Final = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl")
_SCHEMAS: Final = ("/usr/share/openvswitch", "/usr/local/share/openvswitch")
#: Ends when its standard input does, as when the lab's process is gone.
_TELL: Final = "sh -c 'echo ready; read never'"
_END_WITHIN_S: Final = 5.0

#: Generic netlink: ask the controller (16) for a family by its name (linux/genetlink.h).
_GENERIC: Final = 16
_FAMILY: Final = b"ovs_datapath\0"


def missing() -> str:
    """Why there can be no Open vSwitch; "" when there can."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent or _schema() is None:
        what = ", ".join(absent) or "its schema"
        return f"Open vSwitch is not installed ({what}): apt-get install openvswitch-switch"
    if rootless.standing() != rootless.ROOT:
        return "Open vSwitch passes frames for root only, not in a user namespace: the kernel's bridge does"
    return ""


def kernel_datapath() -> bool:
    """Whether this kernel has Open vSwitch's datapath; without, frames go through the daemon. Asking loads it."""
    attribute = struct.pack("=HH", 4 + len(_FAMILY), 2) + _FAMILY + bytes(-len(_FAMILY) % 4)
    body = struct.pack("=BBH", 3, 1, 0) + attribute  # CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _GENERIC) as generic:
        generic.send(struct.pack("=IHHII", 16 + len(body), _GENERIC, 1, 1, 0) + body)
        answer = generic.recv(65536)
    return int(struct.unpack_from("=H", answer, 4)[0]) != 2  # NLMSG_ERROR


class OpenVSwitch:
    """Runs in the calling thread's namespaces, those of a `PrivateRoot`, and dies with this process.

    `environment` has what its commands need to find it. Raises Unsupported.
    """

    def __init__(self) -> None:
        schema = _schema()
        if missing() or schema is None:
            raise Unsupported(missing())
        directory = own_directory("openvswitch")
        self.environment = {f"OVS_{name}DIR": str(directory) for name in ("RUN", "LOG", "DB", "SYSCONF")}
        database, place = directory / "conf.db", directory / "db.sock"
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            subprocess.run(("ovsdb-tool", "create", database, schema), check=True, capture_output=True)
            server = self._run("ovsdb-server", str(database), f"--remote=punix:{place}", f"--run={_TELL}")
            assert server.stdout is not None
            if not server.stdout.read(1):
                raise FailedPrecondition("ovsdb-server of Open vSwitch ended before it was ready")
            subprocess.run(
                ("ovs-vsctl", f"--db=unix:{place}", "--no-wait", "--timeout=10", "init"),
                check=True,
                capture_output=True,
                env={**environ, **self.environment},
            )
            self._run("ovs-vswitchd", f"unix:{place}")
        except subprocess.CalledProcessError as error:
            self.close()
            raise Unsupported(f"Open vSwitch does not start: {error.stderr.decode().strip()}") from None
        except BaseException:
            self.close()
            raise

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            (*command, "--no-chdir", "--verbose=off"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**environ, **self.environment},
            preexec_fn=partial(die_with, getpid()),
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End it. Idempotent."""
        while self._processes:
            process = self._processes.pop()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()  # ends the database's server, and what it runs
            if self._processes:
                process.terminate()
            try:
                process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def _schema() -> Path | None:
    return next((path for one in _SCHEMAS if (path := Path(one) / "vswitch.ovsschema").exists()), None)
