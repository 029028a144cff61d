"""Data packets that tcplab carries per second of wall time; bench/dumbbell_ns3.py is its peer and says the set-up.

    python bench/dumbbell_tcplab.py RATE_BIT_S BYTES [DELAY_MS]

Trace level congestion, capture off. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.topology.loader import topology_from_mapping
from nodes.base import garbage
from nodes.base.events import LEVEL_CONGESTION

BUFFERS = {"tcp_rmem": 16_000_000, "tcp_wmem": 16_000_000, "tcp_congestion_control": "newreno"}


def main() -> None:
    rate, total = int(sys.argv[1]), int(sys.argv[2])
    delay_ms = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    queue = max(100, rate * (2 * delay_ms + 4) // 1000 // 8 // 1500)
    edge = {"rate": f"{10 * rate}bit", "delay": "1ms", "limit": queue}
    topology = topology_from_mapping(
        {
            "nodes": {
                "h1": {"kind": "host", "parameters": BUFFERS},
                "r1": {"kind": "router"},
                "r2": {"kind": "router"},
                "h2": {"kind": "host", "parameters": BUFFERS},
            },
            "links": [
                {"endpoints": "h1-r1", **edge},
                {"endpoints": "r1-r2", "rate": f"{rate}bit", "delay": f"{delay_ms}ms", "limit": queue},
                {"endpoints": "r2-h2", **edge},
            ],
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        lab = SimLab("bench", topology, 1, Path(directory) / "spool", LEVEL_CONGESTION, capture=False)
        lab.start_app("h2", "sink", {"port": 80, "digest": False})
        sender = lab.start_app("h1", "bulk", {"to": "h2", "port": 80, "bytes": total, "digest": False})
        garbage.settle()
        began, cpu = time.perf_counter(), time.process_time()
        lab.advance(Until(apps=(sender.name,)))
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        statistics = lab.link_statistics("r1-r2")["r1->r2"]
        window = max(one.snd_cwnd // one.snd_mss for one in lab.connections("h1"))
        received = sum(one.bytes_received for one in lab.connections("h2"))
        lab.close_lab()
    assert received == total, (received, total)
    packets = total // 1448
    print(
        json.dumps(
            {
                "peer": "tcplab",
                "rate": rate,
                "bytes": received,
                "wall": wall,
                "packets_per_s": packets / wall,
                "packets_per_cpu_s": packets / cpu,
                "window_segments": window,
                "lab_s": lab.now() / 1e9,
                "frames_on_bottleneck": statistics["packets_in"],
            }
        )
    )


if __name__ == "__main__":
    main()
