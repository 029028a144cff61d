"""`make bench`: every figure beside a named peer, measured in this one run on this machine.

Dumbbell h1 - r1 - r2 - h2 with a 10 ms bottleneck, 1448-byte segments, one NewReno transfer: data packets carried per
second of wall time, in tcplab (trace level congestion, no capture) and in ns-3 (PyPI `ns3`), alternating, median of
three. Then tcplab's own: the cost of a packet as the window, the flows or the nodes grow, and what the API costs.
Then goodput over a direct veth, to and from the kernel, beside pmd-pytcp (PyPI) on its TAP interface; this part needs
root. Then frames through the link engine, beside a bare relay in Python and the kernel's bridge; last, how late
timers are in real time.

    python bench/run.py [dumbbell] [window] [scale] [api] [veth] [engine] [timers]      all without a name
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNS = 3
TRANSFERS = {10_000_000: 20_000_000, 100_000_000: 40_000_000, 1_000_000_000: 20_000_000}


def measure(script: str, *arguments: object) -> dict[str, Any]:
    """Run one benchmark in a process of its own; it prints one JSON object last."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def dumbbell() -> None:
    print("Data packets per second of wall time, and of CPU time, where others used the machine too (median of 3)")
    print(f"{'bottleneck':>14} {'per second of':>14} {'tcplab':>10} {'ns-3':>10} {'tcplab/ns-3':>12}")
    for rate, total in TRANSFERS.items():
        ours, theirs = [], []
        for _ in range(RUNS):
            ours.append(measure("dumbbell_tcplab.py", rate, total))
            theirs.append(measure("dumbbell_ns3.py", rate, total))
        for words, name in (("wall time", "packets_per_s"), ("CPU time", "packets_per_cpu_s")):
            a, b = (statistics.median(one[name] for one in runs) for runs in (ours, theirs))
            print(f"{rate // 1_000_000:>7} Mbit/s {words:>14} {a:>10,.0f} {b:>10,.0f} {a / b:>12.2f}")


def window() -> None:
    print("\nWall time a data packet costs as the window grows (1 Gbit/s, delay changed)")
    print(f"{'delay':>8} {'window, segments':>17} {'us per packet':>14}")
    for delay_ms in (1, 10, 40):
        found = measure("dumbbell_tcplab.py", 1_000_000_000, 20_000_000, delay_ms)
        print(f"{delay_ms:>5} ms {found['window_segments']:>17,.0f} {1e6 / found['packets_per_s']:>14.1f}")


def scale() -> None:
    print("\nWhat a data packet costs as a lab grows, us of CPU time; memory")
    for kind, numbers in (("flows", (1, 10, 100, 1000)), ("nodes", (10, 100, 1000)), ("quiet", (10, 100, 1000))):
        for number in numbers:
            found = measure("scale_tcplab.py", kind, number)
            words = f"{number:>8,} {kind:<28} {found['cpu_us_per_packet']:>10.1f}"
            if kind == "nodes":
                words += f"      ns-3: {measure('pairs_ns3.py', number)['cpu_us_per_packet']:.1f}"
            print(words)
    for name, value in measure("scale_tcplab.py", "memory").items():
        print(f"{name:>37} {value:>10,}")


def api() -> None:
    print("\nThe API, over a unix socket")
    for name, value in measure("api_tcplab.py").items():
        print(f"{name:>28} {value:>12,.2f}")


def veth() -> None:
    print("\nGoodput on real interfaces, MTU 1500, offloads off (median of 3); traced: at level congestion")
    if os.getuid():
        print("left out: network namespaces and TAP interfaces need root")
        return
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for _ in range(RUNS):
        for sender, receiver, how in (
            ("linux", "pytcp", "TAP"),
            ("linux", "tcplab", "veth"),
            ("linux", "tcplab", "veth, traced"),
            ("linux", "tcplab", "link engine"),
            ("pytcp", "linux", "TAP"),
            ("tcplab", "linux", "veth"),
            ("tcplab", "linux", "veth, traced"),
            ("tcplab", "linux", "link engine"),
            ("tcplab", "tcplab", "veth"),
            ("tcplab", "tcplab", "veth, traced"),
            ("tcplab", "tcplab", "link engine"),
        ):
            options = {"veth, traced": ("--level", "congestion"), "link engine": ("--engine",)}.get(how, ())
            result = measure("veth_goodput.py", sender, receiver, *options)
            side = result["sender"] if receiver == "linux" else result
            per_cpu = result["bytes"] * 8e-6 / (side["user_s"] + side["system_s"])
            found.setdefault((sender, receiver, how), []).append((result["mbit_per_s"], per_cpu))
    medians = {key: [statistics.median(each) for each in zip(*runs, strict=True)] for key, runs in found.items()}
    print(f"{'from':>8} {'to':>8} {'over':>14} {'Mbit/s':>8} {'/pytcp':>7} {'Mbit per CPU second':>21} {'/pytcp':>7}")
    for (sender, receiver, how), values in medians.items():
        peer = medians.get((sender.replace("tcplab", "pytcp"), receiver.replace("tcplab", "pytcp"), "TAP"))
        ratios = [f"{a / b:.1f}" for a, b in zip(values, peer, strict=True)] if peer and how != "TAP" else ["", ""]
        print(f"{sender:>8} {receiver:>8} {how:>14} {values[0]:>8.1f} {ratios[0]:>7} {values[1]:>21.1f} {ratios[1]:>7}")


def engine() -> None:
    print("\nFrames of 1514 bytes between two veths, as many as are offered (median of 3)")
    print(f"{'carried by':>34} {'frames/s':>10} {'us of CPU a frame':>18}")
    carriers = {
        "bridge": "the kernel's bridge",
        "relay": "a bare relay in Python",
        "engine-plain": "the link engine, a perfect wire",
        "engine": "the link engine, 20 ms",
    }
    for kind, words in carriers.items():
        found = [measure("engine_frames.py", kind, 1514, 0, 2) for _ in range(RUNS)]
        rate, cost = (
            statistics.median(one[name] for one in found) for name in ("frames_per_s", "carrier_us_per_frame")
        )
        print(f"{words:>34} {rate:>10,.0f} {cost:>18.1f}")
    print("\nHow late frames arrive that a link of 20 ms carries, and that the kernel's bridge carries")
    print(f"{'offered/s':>10} {'by':>12} {'lost':>6} {'p50':>11} {'p99':>11} {'max':>11}")
    for rate in (1_000, 10_000, 40_000, 60_000):
        for kind in ("engine", "bridge"):
            one = measure("engine_frames.py", kind, 1514, rate, 3)
            late = (f"{one[f'late_{name}_us']:>8,.0f} us" for name in ("p50", "p99", "max"))
            print(f"{rate:>10,} {kind:>12} {max(0, one['sent'] - one['received']):>6} {' '.join(late)}")


def hundred() -> None:
    print("\n100 hosts on one switch, seconds (median of 3)")
    if os.getuid():
        print("left out: Mininet needs root")
        return
    found = measure("hundred_nodes.py")
    print(f"{'':>8} {'tcplab':>8} {'Mininet':>8} {'tcplab/Mininet':>15}")
    for what in ("up", "gone"):
        ours, theirs = found[f"tcplab_{what}_s"], found[f"mininet_{what}_s"]
        print(f"{what:>8} {ours:>8.2f} {theirs:>8.2f} {ours / theirs:>15.2f}")


def timers() -> None:
    print("\nHow late calls are in real time, us; the share of a core used")
    print(f"{'spinning':>10} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8} {'core':>6}")
    for spin_us in (0, 150):
        found = measure("timers.py", spin_us)
        shown = " ".join(f"{found[name]:>8.1f}" for name in ("p50_us", "p90_us", "p99_us", "max_us"))
        print(f"{spin_us:>7} us {shown} {found['core_used']:>6.1%}")


PARTS = {
    "dumbbell": dumbbell,
    "window": window,
    "scale": scale,
    "api": api,
    "veth": veth,
    "engine": engine,
    "timers": timers,
    "hundred": hundred,
}


if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
