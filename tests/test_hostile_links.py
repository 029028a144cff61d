"""The byte stream over links that lose, reorder, duplicate and corrupt up to 30 % of all packets.

RFC 9293 section 2.2: what is delivered is what was sent, in order, from the start; when the transfer completes it is
all of it; and whoever has something outstanding learns of failure. A hang is a failure of the test.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.backends.sim import SimLab
from lab.backends.until import Until
from lab.topology.loader import topology_from_mapping
from nodes.apps.pattern import Pattern
from nodes.base.clock import HOUR, MILLISECOND
from nodes.base.events import LEVEL_STATES
from nodes.base.random import CHANCE_ONE

CHANCE = st.one_of(st.just(0), st.integers(0, 3 * CHANCE_ONE // 10))
IMPAIRMENTS = st.fixed_dictionaries(
    {
        "delay_ns": st.integers(0, 200).map(lambda ms: ms * MILLISECOND),
        "jitter_ns": st.integers(0, 50).map(lambda ms: ms * MILLISECOND),
        "loss": CHANCE,
        "reorder": CHANCE,
        "reorder_delay_ns": st.sampled_from([0, 5 * MILLISECOND, 100 * MILLISECOND]),
        "duplicate": CHANCE,
        "corrupt": CHANCE,
        "rate_bps": st.sampled_from([0, 256_000, 10_000_000]),
        "limit_packets": st.sampled_from([3, 20, 1000]),
    }
)
PARAMETERS = st.fixed_dictionaries(
    {
        "profile": st.sampled_from(["linux", "rfc"]),
        "tcp_rmem": st.sampled_from([4096, 20_000, 262_144]),
        "tcp_wmem": st.sampled_from([4096, 20_000, 262_144]),
        "tcp_window_scaling": st.integers(0, 1),
        "tcp_timestamps": st.integers(0, 1),
        "tcp_congestion_control": st.sampled_from(["reno", "newreno", "cubic"]),
    }
)
#: Also who has nothing outstanding then learns that the other end has gone: no transfer waits for ever.
KEEPALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 9}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    forward=IMPAIRMENTS,
    backward=IMPAIRMENTS,
    client=PARAMETERS,
    server=PARAMETERS,
    size=st.one_of(st.integers(0, 5000), st.integers(0, 300_000)),
    chunk=st.integers(1, 65536),
    read=st.integers(1, 65536),
    mss=st.sampled_from([88, 536, 1460]),
)
def test_a_prefix_arrives_and_all_of_it_when_the_transfer_completes(
    seed: int,
    forward: dict[str, int],
    backward: dict[str, int],
    client: dict[str, int | str],
    server: dict[str, int | str],
    size: int,
    chunk: int,
    read: int,
    mss: int,
) -> None:
    topology = topology_from_mapping(
        {
            "nodes": {"h1": {"parameters": client}, "h2": {"parameters": server}},
            "links": [{"endpoints": "h1-h2"}],
        }
    )
    options = {**KEEPALIVE, "TCP_MAXSEG": mss}
    chunk = max(chunk, size // 500)  # bounds the number of user calls, not what is tested
    with tempfile.TemporaryDirectory() as directory:
        lab = SimLab("hostile", topology, seed, Path(directory) / "spool", LEVEL_STATES, capture=False)
        lab.update_link("h1-h2", forward, "h1->h2")
        lab.update_link("h1-h2", backward, "h2->h1")
        lab.start_app("h2", "sink", {"port": 80, "read": read, "options": options}, "sink")
        lab.start_app("h1", "bulk", {"to": "h2", "port": 80, "bytes": size, "chunk": chunk, "options": options}, "bulk")
        lab.advance(Until(apps=("bulk",)))  # raises when nothing can happen any more while it waits
        lab.advance(Until(idle=True, time_ns=lab.now() + 24 * HOUR))
        bulk, sink = lab.apps["bulk"], lab.apps["sink"]
        lab.close_lab()
    received = int(sink.results["received_bytes"])
    if received:
        assert sink.results["received_sha256"] == Pattern(received).sha256()
    assert received <= size
    if not bulk.error:
        assert received == size
    elif received < size:
        assert any(word in bulk.error for word in ("ETIMEDOUT", "EHOSTUNREACH", "ECONNRESET", "ECONNREFUSED", "EPIPE"))
