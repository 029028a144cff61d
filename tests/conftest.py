"""Components a test needs from the machine.

`@pytest.mark.requires("tshark")` names them. A missing one fails the test: a skip would hide it. With `--allow-missing`
(what `make test` passes outside CI) such tests are left out instead, and the last lines of the run say which and why.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.dockerd import Dockerd

ROOT = Path(__file__).parent.parent
HOW_TO_GET = {
    "root": "run as root",
    "tshark": "apt-get install tshark",
    "node": "apt-get install nodejs",
    "npm": "apt-get install npm",
    "tcpdump": "apt-get install tcpdump",
    "iperf3": "apt-get install iperf3",
    "nginx": "apt-get install nginx-light",
    "curl": "apt-get install curl",
    "nc": "apt-get install netcat-openbsd",
    "ip": "apt-get install iproute2",
    "openssl": "apt-get install openssl",
    "dot": "apt-get install graphviz",
    "mn": "apt-get install mininet",
    "brctl": "apt-get install bridge-utils",
    "ovs-vswitchd": "apt-get install openvswitch-switch",
    "docker": "apt-get install docker.io debootstrap, and run as root",
    "compose": "apt-get install docker-compose",
}


def interpreter(version: str) -> str | None:
    """Path of a Python of that version (`3.12`), or None."""
    found = subprocess.run([ROOT / "tools/interpreter", version], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def available(component: str) -> bool:
    if component == "root":
        return os.geteuid() == 0
    if component.startswith("python3."):
        return interpreter(component.removeprefix("python")) is not None
    if component == "docker":
        programs = ("docker", "dockerd", "debootstrap")
        return os.geteuid() == 0 and all(shutil.which(program) for program in programs)
    if component == "compose":
        version2 = ["docker", "compose", "version"]
        return bool(shutil.which("docker-compose")) or (
            bool(shutil.which("docker")) and subprocess.run(version2, capture_output=True).returncode == 0
        )
    return shutil.which(component) is not None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--allow-missing", action="store_true", help="leave out tests whose components are missing")
    parser.addoption("--compiled", action="store_true", help="test this checkout compiled (tools/compiled.py)")


def make_compiled() -> Path:
    """Where this checkout is installed with its hot code compiled; made when it is missing."""
    command = [sys.executable, str(ROOT / "tools/compiled.py")]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


@pytest.fixture(scope="session")
def compiled() -> Path:
    """Where this checkout is installed with its hot code compiled."""
    return make_compiled()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Of what a shell runs in the background; tests that press Ctrl-C, and the processes they start, want it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--compiled"):
        # Before the checkout, here and in the processes that tests start.
        place = str(make_compiled())
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = place
        # At once: pytest puts the checkout before it again. What is imported stays.
        import lab
        import tcplab
        from nodes.tcp import connection

        found = [str(module.__file__) for module in (lab, tcplab, connection)]
        if not all(one.startswith(place) for one in found) or not found[-1].endswith(".so"):
            raise pytest.UsageError(f"--compiled, but imported was {', '.join(found)}")
    # How long an example takes depends on what else the machine does.
    hypothesis.settings.register_profile("tcplab", deadline=None)
    hypothesis.settings.load_profile("tcplab")
    config.addinivalue_line("markers", "requires(component, ...): programs of the machine that the test runs")


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """A Docker daemon for the tests of this session, apart from the machine's (tests/dockerd.py)."""
    daemon = Dockerd()
    yield daemon
    daemon.stop()


@pytest.fixture(scope="session")
def tcplab_image(dockerd: Dockerd) -> str:
    """Our image, as `make image` makes it where there is no registry; its name."""
    dockerd.run("tools/image")
    return "tcplab"


def pytest_report_header(config: pytest.Config) -> str:
    from nodes.tcp import connection

    return f"testing {Path(connection.__file__)}"


def needs(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("requires") for name in mark.args]


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(ROOT / "tests/netns"):
            item.add_marker("real_time")
    missing = {name for name in {name for item in items for name in needs(item)} if not available(name)}
    config.stash[MISSING] = sorted(missing)
    if not missing or not config.getoption("--allow-missing"):
        return
    out = [item for item in items if missing.intersection(needs(item))]
    config.stash[LEFT_OUT] = len(out)
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in needs(item):
        if name in item.config.stash[MISSING]:
            pytest.fail(f"{name} is missing on this machine ({HOW_TO_GET.get(name, 'install it')})", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(LEFT_OUT, 0):
        terminalreporter.section("LEFT OUT")
        for name in config.stash[MISSING]:
            terminalreporter.line(f"tests that need {name}: it is missing ({HOW_TO_GET.get(name, 'install it')})")


MISSING = pytest.StashKey[list[str]]()
LEFT_OUT = pytest.StashKey[int]()
