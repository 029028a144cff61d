"""What a lab leaves behind: nothing. Each test is on a machine of its own, as far as namespaces reach, and looks at it.

Its process is pid 1: it sees every process there is, and whoever has lost a parent becomes its child.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lab.backends.netns.lab import NetnsLab
from lab.fabric import libc, rootless
from lab.fabric.namespaces import Namespace
from lab.fabric.netlink import Netlink
from lab.server.leftovers import remove_ended_instances
from lab.topology.loader import topology_from_mapping
from nodes.agent.payload import Payload
from nodes.base.errors import TcplabError
from nodes.base.events import LEVEL_CONGESTION
from nodes.base.processes import Process, ended, machine, owned_name

pytestmark = pytest.mark.requires("root")

ROOT: Final = Path(__file__).parents[2]
_MS_REC_PRIVATE: Final = 16384 | (1 << 18)
_MS_BIND: Final = 4096
#: Directories that programs leave things in.
_SCRATCH: Final = ("/tmp", "/run", "/var/tmp", "/dev/shm")

NOBODY: Final = 65534

Facts = dict[str, list[str]]


def mount(kind: str, target: str, flags: int = 0) -> None:
    assert ctypes.CDLL(None).mount(kind.encode(), target.encode(), kind.encode(), flags, None) == 0


def hide(place: str) -> None:
    """Mount an empty directory there; this checkout stays where it is, also when that is in there."""
    within = ROOT.is_relative_to(place)
    checkout = os.open(ROOT, os.O_PATH) if within else -1
    mount("tmpfs", place)
    if within:
        ROOT.mkdir(parents=True)
        mount(f"/proc/self/fd/{checkout}", str(ROOT), _MS_BIND)
        os.close(checkout)


def on_a_machine_of_its_own(work: Callable[[], Any]) -> Any:
    """What `work` returns, plain values, in new namespaces of processes, mounts and networks, scratch places empty."""
    read, write = os.pipe()
    outer = os.fork()
    if not outer:
        os.setsid()
        libc.unshare(libc.CLONE_NEWPID | libc.CLONE_NEWNS | libc.CLONE_NEWNET)
        inner = os.fork()
        if inner:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        status = 1
        try:
            # Who runs the tests by nohup ignores it, and so would all in here.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.close(read)
            mount("none", "/", _MS_REC_PRIVATE)
            mount("proc", "/proc")
            for place in _SCRATCH:
                if Path(place).is_dir():
                    hide(place)
            os.environ["HOME"] = "/tmp"
            os.chdir("/tmp")
            machine.cache_clear()
            os.write(write, json.dumps(work()).encode())
            status = 0
        except BaseException:
            os.write(write, json.dumps({"failed": traceback.format_exc()}).encode())
        finally:
            os._exit(status)
    os.close(write)
    with open(read, "rb") as pipe:  # noqa: PTH123
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(outer, 0)[1])
    found = json.loads(said)
    assert status == 0, found["failed"]
    return found


def links_of(places: Iterator[Path]) -> list[str]:
    """Where symbolic links of /proc lead; those of who has just ended lead nowhere."""
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            found.append(f"{place.name}: {place.readlink()}")
    return sorted(found)


def facts() -> Facts:
    """All that could be left."""
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return {
        "processes": sorted(process.name for process in processes),
        "namespaces": sorted({link for process in processes for link in links_of((process / "ns").iterdir())}),
        "descriptors": [line for line in links_of(Path("/proc/self/fd").iterdir()) if "/proc/" not in line],
        "threads": sorted(entry.name for entry in Path("/proc/self/task").iterdir()),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "mounts": Path("/proc/self/mountinfo").read_text().splitlines(),
        "files": sorted(str(path) for place in _SCRATCH for path in Path(place).rglob("*") if ROOT not in path.parents),
        "settings": [
            f"{path}: {path.read_text()}"
            for path in sorted(Path("/proc/sys/net").rglob("*"))
            if path.is_file() and path.stat().st_mode & 0o400 and path.name != "stable_secret"
        ],
        "children": children(),
        "tracers": tracers(),
    }


@contextlib.contextmanager
def instances() -> Iterator[Path]:
    """The directory of the tracer's instances, which is the whole machine's."""
    root = libc.open_filesystem("tracefs")
    try:
        yield Path(f"/proc/self/fd/{root}/instances")
    finally:
        os.close(root)


def tracers() -> list[str]:
    """Instances of the kernel's tracer that processes of this process namespace have made."""
    with instances() as directory:
        return sorted(path.name for path in directory.iterdir() if f"-{Process.current().namespace}-" in path.name)


def children() -> list[str]:
    return Path("/proc/thread-self/children").read_text().split()


def reap_orphans() -> None:
    """Wait until every process has ended that is a child of this one by now."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def difference(before: Facts, after: Facts) -> dict[str, list[str]]:
    """What is there that was not, and what is not that was."""
    return {
        name: [*(f"+ {one}" for one in after[name] if one not in before[name]),
               *(f"- {one}" for one in before[name] if one not in after[name])]
        for name in before
        if before[name] != after[name]
    }  # fmt: skip


MIXED: dict[str, Any] = {
    "nodes": {"h1": "host", "r1": {"kind": "linux", "parameters": {"ip_forward": 1}}, "h2": "linux", "s1": "switch"},
    "links": ["h1-r1", "r1-s1", {"endpoints": "s1-h2", "delay": "1ms"}],
}


def run_a_lab(number: int) -> None:
    """A lab with every kind of node and carrier, a transfer, a link that changes hands, a program that stays."""
    spool = Path(f"spool{number}")
    lab = NetnsLab("mixed", topology_from_mapping(MIXED), 1, spool, level=LEVEL_CONGESTION, capture=False)
    if rootless.standing() == rootless.ROOT:
        assert tracers()
    listener = lab.listen("h2", 80)
    accepted = lab.accept("h2", listener.number)
    opened = lab.open("h1", "h2", 80)
    lab.wait(opened, accepted)
    lab.update_link("h1-r1", {"loss": 0})
    sent = lab.send("h1", opened.value().number, Payload.of(bytes(10_000)))
    lab.wait(sent, lab.receive("h2", accepted.value().number, min_bytes=10_000))
    lab.close_lab()
    spool.unlink()


def three_times(run: Callable[[int], None]) -> list[dict[str, list[str]]]:
    """What each of three runs in a row leaves, seen from before the first."""
    run(0)  # what is loaded once and stays: modules, caches of the interpreter
    before = facts()
    found = []
    for number in range(1, 4):
        run(number)
        found.append(difference(before, facts()))
    return found


def leave_everything(number: int) -> None:
    if number != 1:
        return
    Path("left").touch()
    Path("place").mkdir()
    mount("tmpfs", "/tmp/place")
    space = Namespace()
    read, write = os.pipe()
    if not os.fork():
        space.enter()
        os.write(write, b"there")
        signal.pause()
    os.read(read, 5)
    with Netlink() as netlink:
        netlink.new_link(
            "a bridge", [("IFLA_IFNAME", "b1"), ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})]
        )
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    with instances() as directory:
        (directory / f"{owned_name()}-left").mkdir()


def left_everything() -> list[Any]:
    try:
        return [three_times(leave_everything), list(facts())]
    finally:
        with instances() as directory:  # which no namespace takes along
            (directory / f"{owned_name()}-left").rmdir()


def test_what_is_left_is_seen() -> None:
    """Or the other tests could not fail."""
    found, all_there_is = on_a_machine_of_its_own(left_everything)
    assert set(found[0]) == set(found[2]) == set(all_there_is)


def test_three_labs_in_a_row_leave_nothing() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(run_a_lab)) == [{}, {}, {}]


def run_without_root(number: int) -> None:
    """In a process of nobody's, which finds a user namespace for itself."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            libc.set_dumpable()
            run_a_lab(number)
            assert rootless.standing() == rootless.USER_NAMESPACE
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_three_labs_without_root_leave_nothing() -> None:
    def work() -> Any:
        run_a_lab(0)  # loads what nobody may not read
        return three_times(run_without_root)

    assert on_a_machine_of_its_own(work) == [{}, {}, {}]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lab.cli.main", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run_the_command(number: int) -> None:
    run = command("run", "handshake", "--backend", "netns", "--out", "run", "--replace", "--no-export")
    done = subprocess.run(run, env=environment(), capture_output=True, text=True)
    # 1: an instant was not as expected, as on a machine that is busy. What is left of the run is asked here.
    assert done.returncode in (0, 1), done.stderr


def test_three_runs_of_the_command_leave_their_directory() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(run_the_command)) == [{}, {}, {}]


def fail_half_way(number: int) -> None:
    """The last node has a setting that this kernel does not know; the first ones are there by then."""
    spec = {**MIXED, "nodes": {**MIXED["nodes"], "h3": {"kind": "linux", "parameters": {"net.ipv4.no_such": 1}}}}
    topology = topology_from_mapping({**spec, "links": [*MIXED["links"], "h3-s1"]})
    with contextlib.suppress(TcplabError):
        NetnsLab("mixed", topology, 1, Path("spool"))
        raise AssertionError("it came up")


def test_a_lab_that_does_not_come_up_leaves_nothing() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(fail_half_way)) == [{}, {}, {}]


def be_killed(number: int) -> None:
    """The lab's process, killed while its members are being made and when all are there, in turn."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)

        def tell(what: str, done: int, of: int) -> None:
            if what == "processes" and done == number % 4 + 1:
                os.write(write, b"now")
                signal.pause()

        NetnsLab("mixed", topology_from_mapping(MIXED), 1, Path(f"spool{number}"), progress=tell)
        os._exit(1)
    os.close(write)
    assert os.read(read, 3) == b"now"
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    reap_orphans()
    remove_ended_instances()  # as the next controller does
    Path(f"spool{number}").unlink()


def test_a_killed_lab_process_leaves_its_trace_and_tracers() -> None:
    assert on_a_machine_of_its_own(lambda: three_times(be_killed)) == [{}, {}, {}]


def test_who_is_not_shown_others_processes_takes_none_for_ended() -> None:
    """`/proc` mounted so that it shows nobody but one's own."""

    def work() -> list[bool]:
        assert ctypes.CDLL(None).mount(b"proc", b"/proc", b"proc", 0, b"hidepid=2") == 0
        mine = owned_name()
        gone = mine.replace("tcplab-1-", "tcplab-99999-")
        seen = [ended([mine, gone]) == [gone]]
        child = os.fork()
        if not child:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os._exit(0 if ended([mine, gone]) == [] else 1)
        return [*seen, os.waitpid(child, 0)[1] == 0]

    assert on_a_machine_of_its_own(work) == [True, True]
