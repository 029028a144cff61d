"""A Docker daemon for tests, in network and mount namespaces of its own: the machine's firewall, bridges, /run and its
own daemon never see it.

`Dockerd()` starts one and returns when its API answers. The daemon and its containers are the descendants of a keeper,
this file run as a program, which ends with the tests however those end, and then nothing of them stays: no process,
mount, cgroup, file.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWNET: Final = 0x40000000
_MS_REC_PRIVATE: Final = 0x4000 | 1 << 18
_MNT_DETACH: Final = 2
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CGROUPS: Final = Path("/sys/fs/cgroup")


class Dockerd:
    """A private daemon. Raises RuntimeError with the daemon's last words when it does not start."""

    def __init__(self, *options: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tcplab-docker-"))
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, str(self.directory), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # whoever kills the group of the tests does not kill what cleans up after them
        )
        assert self._keeper.stdout is not None
        self.pid = int(self._keeper.stdout.readline() or 0)  # the daemon's process, in whose namespaces it all is
        if not self.pid:
            words = self._keeper.stdout.read()
            self.stop()
            raise RuntimeError(f"dockerd does not start:\n{words}")

    @property
    def keeper(self) -> int:
        """The process that ends it."""
        return self._keeper.pid

    @property
    def socket(self) -> Path:
        """Where its API is, for those outside. Inside its namespaces, as for containers, /var/run/docker.sock."""
        return self.directory / "docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that is to use it: docker, docker-compose, docker.from_env()."""
        return {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.directory / "config")}

    def docker(self, *arguments: str, cwd: Path | None = None) -> str:
        """What a command of the docker client prints. Raises AssertionError when it fails."""
        return self.run("docker", *arguments, cwd=cwd)

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> str:
        """What a program prints that uses this daemon. Raises AssertionError when it fails."""
        done = subprocess.run(
            command, cwd=cwd or ROOT, env={**self.environment, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
        return done.stdout

    def load_base(self) -> str:
        """Import the small Debian of tools/base-image; its name."""
        archive = self.run("tools/base-image").strip()
        if not self.docker("images", "--quiet", f"{BASE}:latest").strip():
            self.docker("import", archive, BASE)
        return BASE

    def stop(self) -> None:
        """End it and everything in it, and remove its files. Idempotent."""
        self._keeper.terminate()
        self._keeper.communicate()


BASE: Final = "tcplab-base"


def keep(directory: Path, options: list[str]) -> None:
    """The keeper: run a daemon until SIGTERM. Prints its process id once its API answers."""
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # Ctrl-C goes to the tests, which then end us
    signal.signal(signal.SIGTERM, _end)
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    group = directory.name
    _be_apart()
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(directory / "notify"))
    log = directory / "log"
    try:
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                [
                    "dockerd",
                    f"--host=unix://{directory}/docker.sock",
                    "--host=unix:///run/docker.sock",
                    f"--data-root={directory}/data",
                    f"--exec-root={directory}/exec",
                    f"--pidfile={directory}/pid",
                    f"--cgroup-parent=/{group}",
                    "--exec-opt=native.cgroupdriver=cgroupfs",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # sd_notify(3): how a daemon says that it is ready.
                env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify")},
                preexec_fn=lambda: _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        ended = os.pidfd_open(daemon.pid)
        ready = False
        while True:
            readable, _, _ = select.select([notices.fileno(), ended], [], [])
            if notices.fileno() in readable and not ready and b"READY=1" in notices.recv(4096).split(b"\n"):
                ready = True
                print(daemon.pid, flush=True)
            if ended in readable:
                print("" if ready else "0\n" + log.read_text("utf-8", "replace")[-4000:], flush=True)
                return
    finally:
        _end_descendants()
        _remove_cgroups(group)
        _unmount(directory)
        shutil.rmtree(directory)


def _end(signum: int, frame: object) -> None:
    signal.signal(signum, signal.SIG_IGN)
    sys.exit()


def _be_apart() -> None:
    """Network and mount namespaces of our own, with a loopback, a /run, and control groups if there are none."""
    _call("unshare", _CLONE_NEWNS | _CLONE_NEWNET)
    _mount("none", "/", "", _MS_REC_PRIVATE)
    # Docker's programs leave sockets in /run and a key in /etc/docker, wherever their own directories are.
    for path in ("/run", "/etc/docker"):
        if Path(path).is_dir():
            _mount("tmpfs", path, "tmpfs", 0)
    if not any(_cgroup_mounts()):
        _mount("cgroup2", str(_CGROUPS), "cgroup2", 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _end_descendants() -> None:
    """Kill all processes under this one. Orphans among them become our children, so none is missed."""
    while True:
        for pid in _descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children += map(int, (thread / "children").read_text().split())
    return children + [further for child in children for further in _descendants(child)]


def _cgroup_mounts() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]


def _remove_cgroups(name: str) -> None:
    for mount in _cgroup_mounts():
        for path, _, _ in os.walk(mount / name, topdown=False):
            Path(path).rmdir()


def _unmount(directory: Path) -> None:
    """Unmount what is mounted under a directory; the last one mounted first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in reversed(points):
        if Path(point).is_relative_to(directory):
            _call("umount2", point.encode(), _MNT_DETACH)


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), sys.argv[2:])
