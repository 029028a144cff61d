"""Expectations tell right from wrong, and say in words what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.experiments.expectations import Result
from lab.experiments.runner import run
from lab.experiments.spec import load
from lab.spec import read_text

BASE = """
name: base
topology: pair
timeline:
  - listen: {node: h2, port: 80, as: web}
  - accept: {on: web, as: server}
  - open: {node: h1, to: h2, port: 80, as: client}
  - when: {of: server, state: ESTABLISHED}
    send: {on: client, text: hello}
  - receive: {on: server, bytes: 5b, as: got}
  - after: 1s
    abort: client
  - receive: {on: server, bytes: 1b, as: more}
stop: 10s
expect:
"""


def result_of(expectation: str, directory: Path) -> Result:
    text = BASE + f"  - {expectation}\n"
    outcome = run(load(read_text(text)), text, directory / "run", export=False)
    assert outcome.problems == ()
    (result,) = outcome.results
    return result


@pytest.mark.parametrize(
    "expectation",
    [
        "states: {of: client, exactly: [CLOSED, SYN-SENT, ESTABLISHED, CLOSED]}",
        "states: {of: client, through: [SYN-SENT, CLOSED]}",
        "states: {of: client, never: [TIME-WAIT]}",
        "states: {of: 'h2#1', through: [ESTABLISHED]}",
        "states: {of: h2, through: [ESTABLISHED]}",
        "resets: {sent: 1, accepted: 1, ignored: 0}",
        "resets: {of: client, sent: 1, cause: USER_ABORT}",
        "resets: {node: h2, accepted: 1}",
        "retransmissions: {of: client, count: 0}",
        "delivered: {of: server, bytes: 5b, intact: true}",
        "delivered: {of: server, bytes: '<= 5b'}",
        "lifetime: {of: client, length: 1s..1.1s}",
        "time_in: {of: client, state: SYN-SENT, length: 40ms}",
        "counter: {node: h1, name: TcpActiveOpens, value: 1}",
        "failure: {of: more, error: ECONNRESET}",
        "failure: {of: got, error: none}",
        "failure: {of: server, error: ECONNRESET}",
        "events: {kind: call, of: client, where: {call: ABORT}, count: 1}",
        "events: {kind: segment, of: server, where: {direction: RECEIVED, length: '>= 1'}, count: 1}",
        "interval: {from: {kind: call, of: client, where: {call: ABORT}}, to: {kind: reset, of: server}, length: 10ms}",
    ],
)
def test_what_holds(expectation: str, tmp_path: Path) -> None:
    result = result_of(expectation, tmp_path)
    assert result.ok, result


@pytest.mark.parametrize(
    ("expectation", "found"),
    [
        ("states: {of: client, exactly: [CLOSED, SYN-SENT, CLOSED]}", "CLOSED > SYN-SENT > ESTABLISHED > CLOSED"),
        ("states: {of: client, through: [ESTABLISHED, SYN-SENT]}", "h1#1: CLOSED > SYN-SENT > ESTABLISHED > CLOSED"),
        ("states: {of: client, never: [ESTABLISHED]}", "h1#1"),
        ("states: {of: clint, never: [ESTABLISHED]}", "clint had no connection; there were "),
        ("states: {of: 'h1#2', never: [ESTABLISHED]}", "h1#2 had no connection"),
        ("resets: {sent: 0}", "1 sent (1 USER_ABORT)"),
        ("resets: {node: h1, accepted: 1}", "0 accepted"),
        ("retransmissions: {of: client, count: '>= 1'}", "0 retransmissions"),
        ("delivered: {of: server, bytes: 6b}", "5 bytes"),
        ("delivered: {of: client, intact: true}", "nothing came"),
        ("lifetime: {of: client, length: '<= 1s'}", "1.05s"),
        ("time_in: {of: client, state: TIME-WAIT, length: 60s}", "it never was in TIME-WAIT"),
        ("counter: {node: h1, name: TcpActiveOpens, value: 2}", "1"),
        ("counter: {node: h1, name: TcpActive, value: 2}", "no counter TcpActive"),
        ("failure: {of: more, error: none}", "ECONNRESET"),
        ("failure: {of: nobody, error: none}", "no app and no label"),
        ("events: {kind: segment, of: client, where: {direction: SENT}, count: 1}", "4"),
        ("interval: {from: {kind: rtt, node: h3}, to: {kind: reset}, length: 10ms}", "there is no rtt on h3"),
        ("interval: {from: {kind: reset}, to: {kind: rtt}, length: 10ms}", "after it there is no rtt"),
    ],
)
def test_what_does_not_hold_says_what_was_found(expectation: str, found: str, tmp_path: Path) -> None:
    result = result_of(expectation, tmp_path)
    assert not result.ok
    assert found in result.found
    assert result.expected


def test_a_failure_names_the_events_it_found(tmp_path: Path) -> None:
    result = result_of("resets: {node: h1, sent: 0}", tmp_path)
    (seq,) = result.events
    from lab.trace.spool_reader import SpoolReader

    (event,) = [one for one in SpoolReader(tmp_path / "run" / "events.spool") if one.seq == seq]
    assert (event.name, event.node, event.why.name) == ("reset", "h1", "USER_ABORT")


def test_altered_bytes_are_noticed(tmp_path: Path) -> None:
    """The receiver reads one byte less than was sent."""
    base = BASE.replace("bytes: 5b", "bytes: 4b").replace("  - receive: {on: server, bytes: 1b, as: more}\n", "")
    text = base + "  - delivered: {of: server, intact: true}\n"
    outcome = run(load(read_text(text)), text, tmp_path / "run", export=False)
    assert not outcome.ok
    assert "the other end sent 5 bytes" in outcome.results[0].found
