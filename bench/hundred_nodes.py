"""100 hosts on one switch, up and gone again: seconds, median of the rounds. The last line is JSON.

    python bench/hundred_nodes.py [--hosts N] [--rounds N]

tcplab: a lab in network namespaces as `tcplab up` makes it, every host a process with our stack on its interface, the
link engine carrying all links, everything traced. Mininet (Debian's package, by the system's own Python): bare hosts,
each a shell in a namespace, on Linux's bridge (LinuxBridge, its lightest switch; brctl of bridge-utils). Mininet is in
a network and a mount namespace of its own, so that the machine's are left alone. In turns, in one run. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MININET = Path(__file__).with_name("hundred_nodes_mininet.py")
SYSTEM_PYTHON = "/usr/bin/python3"


def tcplab(hosts: int) -> None:
    """Our part, in a process of its own."""
    from lab.backends.netns.lab import NetnsLab
    from lab.topology.loader import topology_from_mapping

    names = [f"h{number}" for number in range(1, hosts + 1)]
    topology = topology_from_mapping(
        {"nodes": {"s1": "switch", **dict.fromkeys(names, "host")}, "links": [f"{name}-s1" for name in names]}
    )
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        lab = NetnsLab("hundred", topology, 1, Path(directory, "spool"))
        up = time.perf_counter()
        lab.close_lab()
        gone = time.perf_counter()
    print(json.dumps({"up_s": up - start, "gone_s": gone - up}))


def measured(command: list[str]) -> dict[str, float]:
    """What one process prints last."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(hosts: int, rounds: int) -> None:
    if os.geteuid():
        raise SystemExit("Mininet needs root; so does this comparison")
    ours = [sys.executable, __file__, "--ours", "--hosts", str(hosts)]
    theirs = ["unshare", "--net", "--mount", SYSTEM_PYTHON, str(MININET), str(hosts)]
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, command in (("tcplab", ours), ("mininet", theirs)):
            for what, seconds in measured(command).items():
                found.setdefault(f"{name}_{what}", []).append(seconds)
    print(json.dumps({"hosts": hosts, **{what: statistics.median(all_) for what, all_ in found.items()}}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", action="store_true", help="only our part, once")
    options = parser.parse_args()
    if options.ours:
        tcplab(options.hosts)
    else:
        main(options.hosts, options.rounds)
