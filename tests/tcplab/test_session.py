"""A session as the README shows it: handshake, losses, transfer, attack, and what the lab tells of them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tcplab.client
from tcplab.client import Controller, Lab, SocketError

SECOND = 1_000_000_000
MB = 1_000_000


def test_twenty_lines(tmp_path: Path) -> None:
    with tcplab.client.lab("pair", seed=1, save=tmp_path / "saved") as lab:
        wire = lab.link("h1-h2")
        wire.rule(drop=True, match="tcp.flags.syn && tcp.flags.ack", nth=1)
        listener = lab.node("h2").listen(80)
        client = lab.node("h1").open("h2", 80)
        server = listener.accept()
        assert SECOND <= lab.now_ns() < 1.1 * SECOND  # RFC 6298 2.1: the first RTO is one second

        wire.update(loss="1%")
        sending = client.start_send(pattern=b"tcplab", length=MB)
        received = server.receive_digest(MB)
        lab.wait(sending)
        assert received.sha256 == hashlib.sha256((b"tcplab" * MB)[:MB]).hexdigest()
        assert wire.statistics()["h1->h2"]["dropped_loss"] > 0

        wire.update(loss=0)
        client.close()
        assert server.receive() == b""
        server.close()
        lab.advance(idle=True)
        attack = lab.attack_on_path_rst("h1-h2", port=80)
        victim = lab.node("h1").open("h2", 80)
        victim.wait_state("CLOSED")
        assert attack.state() == "DONE"
        with pytest.raises(SocketError, match="reset") as caught:
            victim.send(b"anybody there?")
        assert caught.value.errno_name == "ECONNRESET"

        assert [event["new"] for event in lab.trace("state", node="h1", connection=1)] == [
            "SYN-SENT", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED",
        ]  # fmt: skip
        assert [event.cause for event in lab.trace("reset", node="h1", where={"accepted": True})] == ["RST_RECEIVED"]
        assert [(flow.client.node, flow.server.node) for flow in lab.flows()] == [("h1", "h2")] * 2
        lab.save_capture("h1:eth0", tmp_path / "h1.pcapng")
    assert (tmp_path / "h1.pcapng").read_bytes()[:4] == bytes.fromhex("0a0d0d0a")
    assert (tmp_path / "saved/manifest.json").exists()


def test_bytes_and_half_close(pair: Lab) -> None:
    listener = pair.node("h2").listen(80)
    client = pair.node("h1").open("h2", 80)
    server = listener.accept()
    client.send(b"request")
    client.shutdown()
    assert server.receive(at_least=100) == b"request"
    assert server.receive() == b""
    assert (client.state(), server.state()) == ("FIN-WAIT-1", "CLOSE-WAIT")
    pair.advance("10ms")  # one delay of the link: the ACK of the FIN arrives
    assert (client.state(), server.state()) == ("FIN-WAIT-2", "CLOSE-WAIT")
    server.send(b"answer")
    assert client.receive(3) == b"ans"
    assert client.receive() == b"wer"
    server.abort()
    pair.advance(idle=True)
    assert client.state() == "CLOSED"


def test_options_and_parameters(pair: Lab) -> None:
    listener = pair.node("h2").listen(80)
    client = pair.node("h1").open("h2", 80, options={"TCP_NODELAY": True})
    assert client.option("TCP_NODELAY") == "1"
    client.set_option("TCP_NODELAY", 0)
    assert client.option("TCP_NODELAY") == "0"
    pair.node("h1").set_parameters(tcp_fin_timeout=5)
    assert int(pair.node("h1").parameters()["tcp_fin_timeout"]) == 5
    assert [one.local_port for one in pair.node("h2").listeners()] == [80]
    listener.close()
    assert pair.node("h2").listeners() == []


def test_time_moves_only_when_told(pair: Lab) -> None:
    _, opening = pair.node("h1").start_open("h2", 80)
    assert pair.now_ns() == 0
    assert not opening.done()
    stopped = pair.advance("5ms")
    assert (stopped.reason, stopped.time_ns, pair.now_ns()) == ("TIME", 5_000_000, 5_000_000)
    stopped = pair.advance(event=pair.event("error", "h1"), time="10s")
    assert stopped.reason == "EVENT"
    assert stopped.event is not None
    assert (stopped.event.kind, stopped.event.node) == ("error", "h1")
    with pytest.raises(SocketError):
        pair.wait(opening)


def test_threads_take_turns_at_the_clock(pair: Lab) -> None:
    with ThreadPoolExecutor(2) as pool:
        there = pool.submit(pair.node("h1").ping, "h2", 20)
        back = pool.submit(pair.node("h2").ping, "h1", 20)
        assert (there.result().received, back.result().received) == (20, 20)


def test_links_go_down_and_up(pair: Lab) -> None:
    wire = pair.link("h1-h2")
    node = pair.node("h1")
    assert node.ping("h2").received == 1
    wire.down()
    assert node.ping("h2", timeout="100ms").received == 0
    wire.up()
    wire.update("h1->h2", delay="30ms")
    times = node.ping("h2", 2).round_trip_times
    assert [time.ToMilliseconds() for time in times] == [40, 40]
    assert wire.info().backward.delay.ToMilliseconds() == 10


def test_rules_tell_what_they_did(pair: Lab) -> None:
    wire = pair.link("h1-h2")
    name = wire.rule(drop=True, match="icmp", direction="h2->h1", nth="2-3")
    result = pair.node("h1").ping("h2", 4, interval="200ms", timeout="100ms")
    assert (result.transmitted, result.received) == (4, 2)
    (rule,) = wire.rules()
    assert (rule.matches, rule.acted) == (4, 2)
    wire.remove_rule(name)
    assert wire.rules() == []


def test_applications(pair: Lab) -> None:
    pair.app("h2", "sink", port=5001)
    bulk = pair.app("h1", "bulk", to="h2", port=5001, bytes="100kb")
    assert bulk.wait()
    assert pair.node("h2").connections()[0].status().bytes_received == 102_400
    assert [app.name for app in pair.apps()] == ["h2-sink-1", "h1-bulk-1"]


def test_blind_attack_is_answered_by_challenges(pair: Lab) -> None:
    """RFC 5961 3.2: a RST in the window that is not exact is only challenged."""
    listener = pair.node("h2").listen(80)
    client = pair.node("h1").open("h2", 80, local_port=40000)
    server = listener.accept()
    first = server.status().rcv_nxt + 1
    attack = pair.attack_blind_rst(
        "h1", spoof="h1", spoof_ports=40000, target="h2", target_port=80, seq_start=first % 2**32, seq_count=1, step=1
    )
    pair.advance(idle=True)
    assert attack.refresh().packets == 1
    assert (client.state(), server.state()) == ("ESTABLISHED", "ESTABLISHED")
    assert [event.node for event in pair.trace("challenge_ack")] == ["h2"]


def test_the_same_seed_repeats_a_session(controller: Controller) -> None:
    def session(seed: int) -> list[str]:
        with controller.create_lab("pair", seed=seed) as lab:
            lab.link("h1-h2").update(loss="5%")
            listener = lab.node("h2").listen(80)
            client = lab.node("h1").open("h2", 80)
            server = listener.accept()
            sending = client.start_send(pattern=b"x", length="100kb")
            server.receive_digest("100kb")
            lab.wait(sending)
            return [repr(event) for event in lab.trace()]

    assert session(1) == session(1)
    assert session(1) != session(2)


def test_runs(controller: Controller, tmp_path: Path) -> None:
    assert "lost-syn-ack" in controller.experiments()
    run = controller.run("lost-syn-ack", seed=3)
    assert (run.state, run.message.seed) == ("PASSED", 3)
    assert run.message.results
    run.save(tmp_path)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == sorted(
        file.path for file in run.files()
    )
