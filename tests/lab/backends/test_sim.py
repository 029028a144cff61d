"""The sim lab as its users see it: calls, operations, the clock, the trace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.attacks.catalogue import ATTACKS
from lab.backends.sim import SimLab
from lab.backends.until import EventFilter, Until
from lab.links.rules import Drop, Nth, RuleSpec
from lab.spec import from_mapping
from lab.topology.loader import find_topology, topology_from_text
from lab.trace.spool_reader import SpoolReader
from nodes.agent.payload import Payload
from nodes.base.clock import MILLISECOND, NEVER, SECOND
from nodes.base.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    SocketError,
)
from nodes.base.events import ACTION, COUNTER, LEVEL_ALL, LEVEL_STATES


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[SimLab]:
    lab = SimLab("lab", find_topology("pair"), 1, tmp_path / "spool")
    yield lab
    lab.close_lab()


def connected(lab: SimLab) -> tuple[int, int]:
    """Connection numbers on h1 and h2."""
    listener = lab.listen("h2", 80)
    accepting = lab.accept("h2", listener.number)
    opening = lab.open("h1", "h2", 80)
    lab.wait(opening, accepting)
    return opening.connection, accepting.connection


def actions(lab: SimLab) -> list[dict[str, Any]]:
    lab.sink.flush()
    return [json.loads(event.text) for event in SpoolReader(lab.sink.path, kinds=(ACTION,))]


def test_a_call_that_waits_is_an_operation_and_moves_no_time(lab: SimLab) -> None:
    lab.listen("h2", 80)
    opening = lab.open("h1", "h2", 80)
    assert lab.now() == 0
    assert not opening.done
    assert opening.connection == 1
    assert "10.0.0.2:80" in opening.waiting_for
    assert lab.status("h1", 1).state_name == "SYN-SENT"
    lab.wait(opening)
    assert opening.value().state_name == "ESTABLISHED"
    assert opening.ended_ns == lab.now() == 40 * MILLISECOND  # a round trip for ARP, one for SYN and SYN-ACK


def test_bytes_arrive_and_pieces_are_digested(lab: SimLab) -> None:
    client, server = connected(lab)
    payload = Payload(b"0123456789", 1_000_003)
    sending = lab.send("h1", client, payload)
    receiving = lab.receive("h2", server, max_bytes=payload.length, min_bytes=payload.length, keep=False)
    lab.wait(sending, receiving)
    assert sending.value() == payload.length
    received = receiving.value()
    assert (received.data, received.length, received.eof) == (b"", payload.length, False)
    expected = (b"0123456789" * 100_001)[:1_000_003]
    assert received.sha256 == hashlib.sha256(expected).hexdigest() == payload.sha256()


def test_receive_says_end_of_file(lab: SimLab) -> None:
    client, server = connected(lab)
    lab.wait(lab.send("h1", client, Payload.of(b"the end")))
    lab.shutdown("h1", client)
    receiving = lab.receive("h2", server, max_bytes=100, min_bytes=100)
    lab.wait(receiving)
    assert (receiving.value().data, receiving.value().eof) == (b"the end", True)


def test_a_virtual_timeout_ends_the_operation_and_not_the_connection(lab: SimLab) -> None:
    client, _ = connected(lab)
    start = lab.now()
    receiving = lab.receive("h1", client, timeout_ns=5 * SECOND)
    with pytest.raises(TimeoutError):
        lab.wait(receiving)
    assert lab.now() == start + 5 * SECOND
    assert lab.status("h1", client).state_name == "ESTABLISHED"


def test_an_operation_can_be_cancelled(lab: SimLab) -> None:
    client, _ = connected(lab)
    receiving = lab.receive("h1", client)
    lab.cancel(receiving.name)
    with pytest.raises(Cancelled):
        receiving.value()


def test_readiness(lab: SimLab) -> None:
    client, server = connected(lab)
    writable = lab.wait_ready("h1", client, read=True, write=True)
    lab.wait(writable)
    assert writable.value() == ("writable",)
    readable = lab.wait_ready("h2", server, read=True, write=False)
    lab.send("h1", client, Payload.of(b"x"))
    lab.wait(readable)
    assert readable.value() == ("readable",)


def test_nothing_can_happen_while_somebody_waits_names_who_and_for_what(lab: SimLab) -> None:
    listener = lab.listen("h2", 80)
    accepting = lab.accept("h2", listener.number)
    with pytest.raises(FailedPrecondition, match=r"op-1 \(accept on h2\) waits for connection to accept on \*:80"):
        lab.advance(Until(operations=(accepting.name,)))
    assert lab.advance(Until(idle=True)).reason == "idle"  # the clock is free again


def test_advance_to_a_time_an_event_and_idle(lab: SimLab) -> None:
    assert lab.advance(Until(time_ns=3 * SECOND)).reason == "time"
    assert lab.now() == 3 * SECOND
    lab.listen("h2", 80)
    lab.open("h1", "h2", 80)
    stopped = lab.advance(Until(event=EventFilter("state", "h2", where={"new": "SYN-RECEIVED"})))
    assert (stopped.reason, lab.status("h2", 1).state_name) == ("event", "SYN-RECEIVED")
    lab.sink.flush()
    (event,) = [one for one in SpoolReader(lab.sink.path) if one.seq == stopped.event_seq]
    assert (event.name, event["new"]) == ("state", "SYN-RECEIVED")
    assert lab.advance(Until(idle=True)).reason == "idle"
    assert lab.next_time() == NEVER


def test_an_advance_is_made_in_slices(lab: SimLab) -> None:
    lab.listen("h2", 80)
    opening = lab.open("h1", "h2", 80)
    advance = lab.start_advance(Until(operations=(opening.name,)))
    with pytest.raises(FailedPrecondition, match="advanced already"):
        lab.start_advance(Until(idle=True))
    assert advance.step(1) is None
    assert advance.step(1000, not_after_ns=15 * MILLISECOND) is None
    assert lab.now() == 15 * MILLISECOND  # not further, whatever comes next
    stopped = advance.step(1000)
    assert stopped is not None
    assert stopped.reason == "operations"
    lab.start_advance(Until(idle=True)).close()


@pytest.mark.parametrize(
    "until",
    [
        lambda: Until(),
        lambda: Until(idle=True, nth=0),
        lambda: Until(event=EventFilter("stat")),
        lambda: Until(event=EventFilter("state", where={"newer": "CLOSED"})),
        lambda: Until(event=EventFilter("state", where={"new": "CLOSE"})),
        lambda: Until(event=EventFilter("state", cause="BECAUSE")),
        lambda: Until(event=EventFilter(("state", "rtt"), where={"new": "CLOSED"})),
        lambda: Until(event=EventFilter("segment", where={"length": "long"})),
        lambda: Until(event=EventFilter("segment", where={"resent": "maybe"})),
    ],
)
def test_conditions_that_cannot_be_are_refused(until: Any) -> None:
    with pytest.raises(InvalidArgument):
        until()


def test_an_event_that_is_not_recorded_cannot_be_waited_for(tmp_path: Path) -> None:
    lab = SimLab("lab", find_topology("pair"), 1, tmp_path / "spool", LEVEL_STATES, False)
    with pytest.raises(InvalidArgument, match="rtt events are recorded from trace level congestion on"):
        lab.advance(Until(event=EventFilter("rtt")))
    with pytest.raises(InvalidArgument, match="past"):
        lab.advance(Until(time_ns=5))
        lab.advance(Until(time_ns=4))
    lab.close_lab()


def test_changing_calls_are_recorded_with_their_place_and_looking_is_not(lab: SimLab) -> None:
    client, server = connected(lab)
    lab.sink.flush()
    before = lab.sink.sequence
    lab.status("h1", client)
    lab.connections("h2")
    lab.counters("h1")
    lab.link_statistics("h1-h2")
    lab.listeners("h2")
    lab.get_option("h1", client, "TCP_NODELAY")
    assert lab.sink.sequence == before
    lab.send("h2", server, Payload.of(b"hi"))
    logged = actions(lab)
    assert [one["call"] for one in logged] == ["listen", "accept", "open", "send"]
    assert logged[-1]["payload"] == {"pattern": "aGk=", "length": 2}
    assert logged[-1]["step"] > logged[0]["step"] == 0


def test_a_call_with_wrong_names_is_not_recorded_and_changes_nothing(lab: SimLab) -> None:
    client, _ = connected(lab)
    before = actions(lab)
    with pytest.raises(NotFound, match="'h9' is no node"):
        lab.open("h9", "h2", 80)
    with pytest.raises(NotFound, match="nor an IP address"):
        lab.open("h1", "h3.example", 80)
    with pytest.raises(NotFound, match="no connection"):
        lab.close("h1", 7)
    with pytest.raises(NotFound, match="no listener 9"):
        lab.accept("h2", 9)
    with pytest.raises(NotFound, match="'h1-h3' is no link of this lab; did you mean h1-h2"):
        lab.set_link_up("h1-h3", False)
    with pytest.raises(InvalidArgument):
        lab.update_link("h1-h2", {"losss": 1})
    with pytest.raises(NotFound):
        lab.update_link("h1-h2", {"loss": 1}, "h1->h7")
    with pytest.raises(InvalidArgument):
        lab.wait_ready("h1", client, read=False, write=False)
    with pytest.raises(InvalidArgument):
        lab.receive("h1", client, max_bytes=1, min_bytes=2)
    with pytest.raises(InvalidArgument, match="kind of app"):
        lab.start_app("h1", "bulky", {})
    with pytest.raises(NotFound):
        lab.stop_attack("x")
    assert actions(lab) == before


def test_a_call_on_a_closed_connection_is_refused_in_the_words_of_the_rfc(lab: SimLab) -> None:
    client, _ = connected(lab)
    lab.close("h1", client)
    with pytest.raises(SocketError) as caught:
        lab.close("h1", client)
    assert (caught.value.errno_name, caught.value.words) == ("EBADF", "connection closing")
    sending = lab.send("h1", client, Payload.of(b"x"))
    with pytest.raises(SocketError, match="EBADF: connection closing"):
        lab.wait(sending)


def test_ping(lab: SimLab) -> None:
    pinging = lab.ping("h1", "h2", count=3)
    lab.wait(pinging)
    assert [one.error for one in pinging.value()] == ["", "", ""]
    assert pinging.value()[2].rtt_ns == 20 * MILLISECOND
    lab.set_link_up("h1-h2", False)
    lost = lab.ping("h1", "10.0.0.2")
    lab.wait(lost)
    assert lost.value()[0].error == "no answer"


def test_an_event_of_several_kinds_and_fields_as_text(lab: SimLab) -> None:
    lab.listen("h2", 80)
    lab.open("h1", "h2", 80)
    stopped = lab.advance(Until(event=EventFilter(("rtt", "cwnd"), "h1")))
    assert stopped.time_ns == 40 * MILLISECOND
    lab.send("h1", 1, Payload(b"x", 5000))
    where = {"direction": "SENT", "flags": "16", "resent": "false", "length": "0"}
    stopped = lab.advance(Until(event=EventFilter("segment", "h2", 0, "", where)))
    lab.sink.flush()
    (event,) = [one for one in SpoolReader(lab.sink.path) if one.seq == stopped.event_seq]
    assert (event["flags"], event["length"], event["resent"]) == (16, 0, False)
    assert lab.advance(Until(event=EventFilter(), nth=2)).reason == "event"


def test_rules_and_link_state_and_impairments(lab: SimLab) -> None:
    lab.add_rule("h1-h2", RuleSpec(name="no-syn", match="tcp.flags.syn", nth=Nth(1, 1), action=Drop()))
    lab.listen("h2", 80)
    lab.wait(lab.open("h1", "h2", 80))
    assert lab.now() == 1020 * MILLISECOND  # SYN again after 1 s, then a round trip
    (rule,) = lab.rules("h1-h2")
    assert (rule.name, rule.acted) == ("no-syn", 1)
    lab.remove_rule("h1-h2", "no-syn")
    assert lab.rules("h1-h2") == ()
    lab.update_link("h1-h2", {"delay_ns": 7, "loss": 3}, "h1->h2")
    assert lab.links["h1-h2"].forward.impairments.delay_ns == 7
    assert lab.links["h1-h2"].backward.impairments.delay_ns == 10 * MILLISECOND
    lab.set_link_up("h1-h2", False)
    sent = lab.link_statistics("h1-h2")["h1->h2"]["dropped_down"]
    lab.open("h1", "h2", 80)
    lab.advance(Until(time_ns=lab.now() + SECOND // 2))
    assert lab.link_statistics("h1-h2")["h1->h2"]["dropped_down"] == sent + 1


def test_parameters_all_or_none(lab: SimLab) -> None:
    with pytest.raises(InvalidArgument, match="tcp_sin_retries"):
        lab.set_parameters("h1", {"tcp_syn_retries": 2, "tcp_sin_retries": 3})
    assert lab.parameters("h1")["tcp_syn_retries"] == 6
    lab.set_parameters("h1", {"tcp_syn_retries": 2})
    assert lab.parameters("h1")["tcp_syn_retries"] == 2
    assert lab.parameters("h2")["tcp_syn_retries"] == 6


def test_apps_and_their_connections(lab: SimLab) -> None:
    lab.start_app("h2", "sink", {"port": 5001}, "sink")
    bulk = lab.start_app("h1", "bulk", {"to": "h2", "bytes": "64kb"})
    assert bulk.name == "h1-bulk-1"
    with pytest.raises(AlreadyExists):
        lab.start_app("h1", "sink", {}, "sink")
    with pytest.raises(InvalidArgument, match="byts"):
        lab.start_app("h1", "bulk", {"to": "h2", "byts": 1})
    with pytest.raises(FailedPrecondition, match="in the hands of app h1-bulk-1"):
        lab.send("h1", 1, Payload.of(b"x"))
    assert lab.advance(Until(apps=("sink", "h1-bulk-1"))).reason == "apps"
    assert lab.apps["sink"].results["received_bytes"] == 65536
    assert lab.apps["sink"].results["received_sha256"] == lab.apps["h1-bulk-1"].results["sent_sha256"]


def test_an_app_can_be_stopped_and_its_connection_aborted(lab: SimLab) -> None:
    lab.start_app("h2", "sink", {}, "sink")
    lab.start_app("h1", "bulk", {"to": "h2", "bytes": "100mb"}, "bulk")
    lab.advance(Until(time_ns=100 * MILLISECOND))
    lab.abort("h1", 1)
    lab.advance(Until(apps=("sink",)))
    assert lab.apps["sink"].error == "ECONNRESET"
    lab.stop_app("bulk")
    assert lab.apps["bulk"].done


def test_attacks_are_named_and_stay_inside_the_lab(lab: SimLab) -> None:
    spec = from_mapping(ATTACKS["on-path-rst"], {"link": "h1-h2", "when": {"state": "ESTABLISHED"}})
    attack = lab.create_attack(spec)
    assert attack.name == "attack-1"
    with pytest.raises(NotFound, match="h1-h9"):
        lab.create_attack(from_mapping(ATTACKS["on-path-rst"], {"link": "h1-h9"}))
    with pytest.raises(AlreadyExists):
        lab.create_attack(spec, "attack-1")
    lab.listen("h2", 80)
    lab.wait(lab.open("h1", "h2", 80))
    lab.advance(Until(time_ns=lab.now() + SECOND))
    assert lab.status("h1", 1).error == "ECONNRESET"
    other = lab.create_attack(spec)
    lab.stop_attack(other.name)
    assert lab.attacks[other.name].ended


def test_a_connection_that_nobody_accepted_cannot_be_used(lab: SimLab) -> None:
    lab.listen("h2", 80)
    lab.wait(lab.open("h1", "h2", 80))
    lab.advance(Until(idle=True))
    with pytest.raises(FailedPrecondition, match="not been accepted"):
        lab.receive("h2", 1)


def test_a_closed_lab_can_be_read_but_not_changed(lab: SimLab) -> None:
    client, _ = connected(lab)
    lab.close_lab()
    lab.close_lab()
    assert lab.status("h1", client).state_name == "ESTABLISHED"
    for call in (
        lambda: lab.close("h1", client),
        lambda: lab.advance(Until(idle=True)),
        lambda: lab.listen("h1", 1),
        lambda: lab.set_link_up("h1-h2", False),
    ):
        with pytest.raises(FailedPrecondition, match="closed"):
            call()
    events = SpoolReader(lab.sink.path, kinds=(COUNTER,))
    counters = {(event.node, event["counter"]): event["value"] for event in events}
    assert counters["h1", "TcpActiveOpens"] == counters["h2", "TcpPassiveOpens"] == 1


def test_a_lab_that_cannot_be_built_leaves_no_spool(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SimLab("lab", find_topology("pair"), 1, tmp_path / "missing" / "spool")
    (tmp_path / "spool").write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        SimLab("lab", find_topology("pair"), 1, tmp_path / "spool")
    assert (tmp_path / "spool").read_bytes() == b"mine"


def session(lab: SimLab) -> None:
    """A session with something of everything."""
    listener = lab.listen("h3", 80)
    accepting = lab.accept("h3", listener.number)
    opening = lab.open("h1", "h3", 80)
    lab.wait(opening, accepting)
    lab.update_link("bottleneck", {"loss": 20_000_000})
    lab.send("h1", opening.connection, Payload(b"abc", 100_000))
    receiving = lab.receive("h3", accepting.connection, max_bytes=100_000, min_bytes=100_000)
    lab.wait(receiving)
    lab.close("h1", opening.connection)
    lab.advance(Until(time_ns=lab.now() + SECOND))
    lab.close("h3", accepting.connection)
    lab.advance(Until(idle=True))
    lab.close_lab()


def test_equal_sessions_give_equal_bytes_and_other_seeds_do_not(tmp_path: Path) -> None:
    bytes_of = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        lab = SimLab(name, find_topology("dumbbell"), seed, tmp_path / name, LEVEL_ALL)
        session(lab)
        bytes_of[name] = (tmp_path / name).read_bytes()
    assert bytes_of["a"] == bytes_of["b"]
    assert bytes_of["a"] != bytes_of["c"]


def test_how_an_advance_is_sliced_does_not_show(tmp_path: Path) -> None:
    class Sliced(SimLab):
        def advance(self, until: Until) -> Any:
            advance = self.start_advance(until)
            while (stopped := advance.step(3)) is None:
                self.connections("h1")
                self.link_statistics("bottleneck")
            return stopped

    for name, cls in (("whole", SimLab), ("sliced", Sliced)):
        session(cls("lab", find_topology("dumbbell"), 1, tmp_path / name))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "sliced").read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nodes: {h1: host, l1: linux}\nlinks: [h1-l1]", ("node l1", "kind linux", "backend netns")),
        (
            "nodes: {h1: host, h2: host}\nlinks: [{endpoints: h1-h2, engine: netem}]",
            ("link h1-h2", "netem", "backend netns"),
        ),
    ],
)
def test_what_needs_the_kernel_is_refused(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        SimLab("lab", topology_from_text(text), 1, tmp_path / "spool")
    assert all(word in str(caught.value) for word in words)
    assert not list(tmp_path.iterdir())
