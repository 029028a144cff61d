"""What tcplab's cost per packet and its memory do as a lab grows, in virtual time at trace level congestion.

    python bench/scale_tcplab.py flows NUMBER      that many flows at once between two hosts, over a dumbbell
    python bench/scale_tcplab.py nodes NUMBER      that many hosts in pairs, a link and a flow between the two of a pair
    python bench/scale_tcplab.py quiet NUMBER      the same, but of the pairs five have a flow, as in a lab of ten hosts
    python bench/scale_tcplab.py memory            of a host, and of both ends of an idle connection

Every flow carries the same, over the same share of the bottleneck: a lab twice as large carries twice as many packets.
Small labs are made and run again until as many packets are measured. Prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.backends.network import Network
from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.topology.loader import topology_from_mapping
from nodes.base import garbage
from nodes.base.clock import SECOND, SimScheduler
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_CONGESTION
from nodes.base.random import Randomness
from nodes.base.tasks import TaskRunner

SEGMENT = 1448
#: Data packets of one flow, and the least that is measured.
EACH = 300
PACKETS = 30_000
#: What a flow has of the bottleneck: Mbit/s, and packets in its queue.
SHARE = 10
QUEUE = 30
IDLE = 2000


def lab_of(directory: str, mapping: dict[str, Any], level: int = LEVEL_CONGESTION) -> SimLab:
    return SimLab("bench", topology_from_mapping(mapping), 1, Path(directory) / "spool", level, capture=False)


def pairs(hosts: int) -> dict[str, Any]:
    """Hosts h1, h2 ...; h1-h2, h3-h4 ... have a link."""
    names = [f"h{number}" for number in range(1, hosts + 1)]
    links = [
        {"endpoints": f"{a}-{b}", "rate": "100mbit", "delay": "5ms"}
        for a, b in zip(names[::2], names[1::2], strict=True)
    ]
    return {"nodes": {name: {"kind": "host"} for name in names}, "links": links}


def carry(mapping: dict[str, Any], ends: list[tuple[str, str, int]]) -> dict[str, Any]:
    """One bulk transfer for each (from, to, port)."""
    packets = 0
    wall = cpu = 0.0
    while packets < PACKETS:
        with tempfile.TemporaryDirectory() as directory:
            lab = lab_of(directory, mapping)
            senders = []
            for source, target, port in ends:
                lab.start_app(target, "sink", {"port": port})
                settings = {"to": target, "port": port, "bytes": EACH * SEGMENT}
                senders.append(lab.start_app(source, "bulk", settings).name)
            garbage.settle()
            began = time.perf_counter(), time.process_time()
            lab.advance(Until(apps=tuple(senders)))
            wall, cpu = wall + time.perf_counter() - began[0], cpu + time.process_time() - began[1]
            lab.close_lab()
        packets += EACH * len(ends)
    return {"packets": packets, "us_per_packet": wall / packets * 1e6, "cpu_us_per_packet": cpu / packets * 1e6}


def flows(number: int) -> dict[str, Any]:
    edge = {"rate": f"{10 * SHARE * number}mbit", "delay": "1ms", "limit": QUEUE * number}
    mapping = {
        "nodes": {name: {"kind": "router" if name[0] == "r" else "host"} for name in ("h1", "r1", "r2", "h2")},
        "links": [
            {"endpoints": "h1-r1", **edge},
            {"endpoints": "r1-r2", "rate": f"{SHARE * number}mbit", "delay": "10ms", "limit": QUEUE * number},
            {"endpoints": "r2-h2", **edge},
        ],
    }
    return carry(mapping, [("h1", "h2", 2000 + each) for each in range(number)])


def nodes(number: int, sending: int) -> dict[str, Any]:
    return carry(pairs(number), [(f"h{n}", f"h{n + 1}", 2000) for n in range(1, sending, 2)])


def resident() -> int:
    """Bytes of memory this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def network_of(hosts: int) -> tuple[Network, SimScheduler]:
    """Hosts in pairs without the lab around them."""
    scheduler = SimScheduler()
    topology = topology_from_mapping(pairs(hosts))
    network = Network(topology, scheduler, TaskRunner(scheduler), Randomness(1), EventSink(), topology.resolve)
    return network, scheduler


def memory() -> dict[str, Any]:
    network_of(2)
    before = resident()
    keep = network_of(1000)
    per_node = (resident() - before) // 1000
    network, scheduler = keep
    host, peer = network.hosts["h1"], network.hosts["h2"]
    listener = peer.stack.tcp.listen(0, b"", 80, 4096)
    address = network.addresses("h2")[0]
    opened: list[Any] = []
    for batch in range(1 + IDLE // 500):
        if batch == 1:  # the first one has found the neighbour, and made what is made only once
            before = resident()
        for _ in range(500 if batch else 1):
            opened.append(host.stack.tcp.open(scheduler.now(), address, 80))
        host.driver.flush()
        scheduler.run(scheduler.now() + SECOND, 1 << 30)
        while (accepted := listener.accept(scheduler.now())) is not None:
            opened.append(accepted)
    per_connection = (resident() - before) // (2 * IDLE)
    assert len(opened) == 2 * (IDLE + 1), len(opened)
    return {"bytes_per_node": per_node, "bytes_per_connection": per_connection}


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    what = {
        "flows": lambda: flows(number),
        "nodes": lambda: nodes(number, number),
        "quiet": lambda: nodes(number, 10),
        "memory": memory,
    }
    print(json.dumps(what[sys.argv[1]]()))
