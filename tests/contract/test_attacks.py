"""Attacks: RSTs from somebody on a link, and from somebody who sees nothing; only inside their lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tcplab.client import FailedPrecondition, InvalidArgument, Lab, NotFound, SocketError
from tcplab.v1 import attack_pb2
from tests.contract.under import PAIR, Pair, Under

#: The attacker sits at the switch, which does not show it the others' segments.
LAN = """
defaults: {parameters: {tcp_msl_ms: 200}}
nodes: {h1: host, h2: host, mallory: host, s1: switch}
links: [{endpoints: h1-s1, delay: 1ms}, h2-s1, mallory-s1]
"""


@pytest.fixture(scope="module")
def lan(under: Under) -> Iterator[Lab]:
    with under.lab(LAN) as lab:
        yield lab


def errno_of(pair: Pair, end: object) -> str:
    """What a user of that end sees."""
    with pytest.raises(SocketError) as caught:
        end.receive(timeout="5s")  # type: ignore[attr-defined]
    return caught.value.errno_name


def test_an_attacker_on_the_path_resets_at_once(pair: Pair) -> None:
    attack = pair.lab.attack_on_path_rst("h1-h2", name="cut", port=pair.port())
    assert (attack.name, attack.state()) == ("cut", "PENDING")
    attack.stop()
    assert attack.state() == "STOPPED"
    client, server = pair.connect()
    attack = pair.lab.attack_on_path_rst("h1-h2", port=client.status().remote_port)
    client.send(b"something to see")
    assert (errno_of(pair, client), client.state(), server.state()) == ("ECONNRESET", "CLOSED", "CLOSED")
    *_, last = attack.watch()
    assert (last.state, last.packets) == (attack_pb2.Attack.STATE_DONE, 2)
    assert last.create_time_ns <= last.trigger_time_ns <= last.end_time_ns
    assert {"cut", attack.name} <= {one.name for one in pair.lab.attacks()}


def test_it_waits_for_a_state(pair: Pair) -> None:
    port = pair.port()
    attack = pair.lab.attack_on_path_rst("h1-h2", state="ESTABLISHED", node="h2", port=port)
    listener = pair.h2.listen(port)
    client = pair.h1.open("h2", port)
    assert errno_of(pair, client) == "ECONNRESET"
    assert attack.refresh().HasField("trigger_time_ns")
    listener.close()


def test_it_waits_for_bytes_and_resets_who_is_named(pair: Pair) -> None:
    client, server = pair.connect()
    port = client.status().remote_port
    attack = pair.lab.attack_on_path_rst("h1-h2", bytes="20kb", to="client", port=port)
    pair.transfer(client, server, 10_000)
    assert (attack.state(), client.state()) == ("PENDING", "ESTABLISHED")
    client.send(pattern=b"x", length="30kb")
    assert errno_of(pair, client) == "ECONNRESET"
    assert attack.refresh().packets == 1  # what the server hears, it hears from the client


def test_it_waits_for_an_instant(pair: Pair) -> None:
    client, server = pair.connect()
    at = pair.lab.now_ns() + 100_000_000
    attack = pair.lab.attack_on_path_rst("h1-h2", time=f"{at}ns", port=client.status().remote_port)
    pair.lab.advance(time=f"{at}ns")
    client.send(b"after it")
    for end in (client, server):
        end.wait_state("CLOSED")
    assert attack.refresh().trigger_time_ns >= at


def test_others_are_left_alone(pair: Pair) -> None:
    client, _ = pair.connect()
    other, its_server = pair.connect()
    pair.lab.attack_on_path_rst("h1-h2", port=client.status().remote_port)
    client.send(b"seen")
    assert errno_of(pair, client) == "ECONNRESET"
    pair.transfer(other, its_server, 10_000)
    assert (other.state(), its_server.state()) == ("ESTABLISHED", "ESTABLISHED")


def test_a_blind_attacker_with_the_exact_number_resets(lan: Lab) -> None:
    """RFC 5961 section 3.2: at RCV.NXT it is believed; elsewhere in the window it is answered by a challenge ACK."""
    pair_ports = 4000
    for exact, state in ((False, "ESTABLISHED"), (True, "CLOSED")):
        pair_ports += 1
        listener = lan.node("h2").listen(pair_ports)
        client = lan.node("h1").open("h2", pair_ports, local_port=pair_ports)
        server = listener.accept()
        syn = next(one for one in lan.trace("segment", node="h1", connection=client.number))
        number = (syn["seq"] + 1 + (0 if exact else 1000)) % (1 << 32)
        attack = lan.attack_blind_rst(
            "mallory", spoof="h1", spoof_ports=pair_ports, target="h2", target_port=pair_ports,
            seq_start=number, seq_count=1, step=1,
        )  # fmt: skip
        *_, last = attack.watch() if lan.real_time else _to_its_end(lan, attack.name)
        assert last.packets == 1
        event = "reset" if exact else "challenge_ack"
        seen = list(lan.trace(event, node="h2", connection=server.number))
        if not seen:
            lan.advance(event=lan.event(event, "h2", server.number))
        assert server.state() == state


def _to_its_end(lab: Lab, name: str) -> list[attack_pb2.Attack]:
    """In virtual time somebody has to let it pass."""
    lab.advance("50ms")
    (attack,) = [one for one in lab.attacks() if one.name == name]
    return [attack.refresh()]


def test_a_blind_sweep_can_be_stopped(lan: Lab) -> None:
    attack = lan.attack_blind_rst(
        "mallory", spoof="h1", spoof_ports=(1, 60_000), target="h2", target_port=9, seq_count=1, step=1, rate=100
    )
    lan.advance("200ms")
    assert attack.state() == "RUNNING"
    attack.stop()
    assert attack.state() == "STOPPED"
    sent = attack.refresh().packets
    assert 1 <= sent < 60_000
    lan.advance("100ms")
    assert attack.refresh().packets == sent


def test_attacks_that_make_no_sense_are_refused(under: Under, lan: Lab) -> None:
    with pytest.raises(NotFound, match="h1-s1"):  # what there is
        lan.attack_on_path_rst("nowhere")
    with pytest.raises(NotFound):
        lan.attack_blind_rst("nobody", spoof="h1", spoof_ports=1, target="h2", target_port=1)
    with pytest.raises((InvalidArgument, NotFound, FailedPrecondition), match=r"8\.8\.8\.8"):
        lan.attack_blind_rst("mallory", spoof="h1", spoof_ports=1, target="8.8.8.8", target_port=1)
    with pytest.raises(InvalidArgument):
        lan.attack_on_path_rst("h1-s1", count=-1)
    with under.lab(PAIR) as other, pytest.raises(NotFound):
        other.attack_on_path_rst("h1-s1")
