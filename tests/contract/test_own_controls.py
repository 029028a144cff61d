"""A congestion control of the user's own, uploaded: it works on every backend, and its failure is its connection's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tcplab.client import InvalidArgument, SocketError
from tests.contract.under import PAIR, Under

GENTLE = """
from nodes.tcp.congestion.base import Ack, CongestionControl

class Gentle(CongestionControl):
    name = "gentle"

    def on_ack(self, ack: Ack) -> None:
        left = self.slow_start(ack)
        self.cwnd += self.mss * left // (2 * self.cwnd)
"""
BROKEN = GENTLE.replace("gentle", "broken") + "        raise RuntimeError('out of ideas')\n"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "gentle.py", tmp_path / "broken.py"]
    made[0].write_text(GENTLE)
    made[1].write_text(BROKEN)
    return made


def test_an_uploaded_control_is_used(under: Under, files: list[Path]) -> None:
    topology = PAIR.replace("h1: host", "h1: {parameters: {tcp_congestion_control: gentle}}")
    with under.lab(topology, congestion_controls=files) as lab:
        h1, h2 = lab.node("h1"), lab.node("h2")
        listener = h2.listen(80, options={"TCP_CONGESTION": "gentle"})
        client = h1.open("h2", 80)
        server = listener.accept()
        assert [end.status().congestion_control for end in (client, server)] == ["gentle", "gentle"]
        sending = client.start_send(pattern=b"own", length=300_000)
        receiving = server.start_receive(300_000, at_least=300_000, digest_only=True)
        _, received = lab.wait(sending, receiving)
        assert received.received.length == 300_000
        with pytest.raises(InvalidArgument, match=r"'mine' is not allowed; one of .*cubic.*gentle, broken is"):
            h1.open("h2", 80, options={"TCP_CONGESTION": "mine"})
        # One that fails takes its connection with it and nothing else.
        failing = h1.open("h2", 80, options={"TCP_CONGESTION": "broken"})
        other = listener.accept()
        failing.send(pattern=b"x", length=10_000)
        failing.wait_state("CLOSED")
        with pytest.raises(SocketError, match=r"broken\.py:10: RuntimeError: out of ideas") as caught:
            failing.receive()
        assert caught.value.errno_name == "ECONNABORTED"
        other.wait_state("CLOSED")
        (event,) = lab.trace("control", node="h1")
        assert (event["control"], event["why"]) == ("broken", "broken.py:10: RuntimeError: out of ideas")
        client.send(b"still here")
        assert server.receive_exactly(10) == b"still here"
        directory = Path(lab.run_directory)
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["congestion_controls"] == {
        "gentle.py": hashlib.sha256(GENTLE.encode()).hexdigest(),
        "broken.py": hashlib.sha256(BROKEN.encode()).hexdigest(),
    }
    assert manifest["topology"]["congestion_controls"]["gentle.py"] == GENTLE
