"""The on-path RST against real stacks: exact at both ends, whatever the link does, when its condition holds."""

from __future__ import annotations

import pytest

from lab import spec
from lab.attacks.base import DONE, PENDING, RUNNING, STOPPED
from lab.links.rules import RuleSpec
from nodes.base.clock import MILLISECOND, SECOND
from nodes.base.errors import FailedPrecondition, InvalidArgument, NotFound
from nodes.base.events import ATTACK_ACTIONS, LEVEL_OFF
from nodes.tcp.states import STATE_NAMES
from tests.lab.attacks.arena import TOPOLOGY, Arena

MEGABYTE = 1 << 20


@pytest.mark.parametrize("link", ["h1-r1", "r1-r2", "r2-h2"])
@pytest.mark.parametrize(
    "impairments",
    [
        {},
        {"loss": 20_000_000},
        {"rate_bps": 2_000_000, "limit_packets": 10},
        {"reorder": 100_000_000, "reorder_delay_ns": 3 * MILLISECOND},
        {"duplicate": 300_000_000},
    ],
)
def test_after_some_bytes_both_ends_are_reset_at_the_first_try(link: str, impairments: dict[str, int]) -> None:
    arena = Arena()
    arena.network.links["r1-r2"].update(impairments)
    attack = arena.attack(f"on-path-rst: {{link: {link}, when: {{bytes: 100kb}}}}")
    arena.transfer(MEGABYTE)
    arena.run()
    assert arena.errors["h1"] == arena.errors["h2"] == "ECONNRESET"
    if link == "r2-h2" or not impairments:  # nothing can happen between the attacker and the victim
        assert arena.resets("h2")[0] is True
    assert arena.resets("h1")[0] is True
    assert attack.state == DONE
    assert attack.results["rst_to_client"] == attack.results["rst_to_server"] == 1
    assert 100 * 1024 <= attack.results["bytes_seen"] < MEGABYTE
    assert arena.received <= MEGABYTE // 2


@pytest.mark.parametrize(("to", "node"), [("client", "h1"), ("server", "h2")])
def test_one_end_alone_gets_it(to: str, node: str) -> None:
    arena = Arena()
    attack = arena.attack(f"on-path-rst: {{link: r2-h2, to: {to}, when: {{bytes: 50kb}}}}")
    arena.transfer(MEGABYTE)
    arena.run()
    assert arena.resets(node)[0] is True
    assert arena.errors[node] == "ECONNRESET"
    assert (attack.packets, attack.results[f"rst_to_{to}"]) == (1, 1)


@pytest.mark.parametrize(
    ("condition", "node", "state", "at_most_ns"),
    [
        ("{state: {state: ESTABLISHED, node: h2}}", "h2", "ESTABLISHED", 0),
        (
            "{state: {state: SYN-RECEIVED, node: h2}}",
            "h2",
            "SYN-RECEIVED",
            6 * MILLISECOND,
        ),  # when the SYN-ACK has passed
        ("{state: ESTABLISHED}", "h1", "ESTABLISHED", 0),
    ],
)
def test_when_a_state_is_reached(condition: str, node: str, state: str, at_most_ns: int) -> None:
    arena = Arena()
    attack = arena.attack(f"on-path-rst: {{link: r2-h2, to: both, when: {condition}}}")
    arena.transfer(MEGABYTE)
    arena.run()
    assert attack.state == DONE
    assert arena.errors["h1"] == "ECONNRESET"
    assert arena.received == 0
    assert arena.states("h1")[-1] == arena.states("h2")[-1] == "CLOSED"
    reached = next(
        time for time, at, new in arena.sink.state_changes if at == arena.sink.name(node) and STATE_NAMES[new] == state
    )
    assert reached <= attack.triggered_ns <= reached + at_most_ns


def test_when_a_connection_from_before_the_attack_changes_state() -> None:
    arena = Arena()
    arena.transfer(200_000)
    arena.at(
        100 * MILLISECOND,
        lambda: arena.attack("on-path-rst: {link: r2-h2, to: client, when: {state: {state: CLOSE-WAIT, node: h2}}}"),
    )
    arena.run()
    assert arena.received == 200_000
    assert arena.resets("h1")[0] is True


def test_at_a_time() -> None:
    arena = Arena()
    attack = arena.attack("on-path-rst: {link: r1-r2, when: {time: 200ms}}")
    arena.transfer(10 * MEGABYTE)
    arena.run()
    assert attack.triggered_ns == attack.ended_ns == 200 * MILLISECOND
    assert arena.errors == {"h1": "ECONNRESET", "h2": "ECONNRESET"}


def test_now_in_the_middle_of_a_transfer() -> None:
    arena = Arena()
    arena.transfer(10 * MEGABYTE)
    arena.at(SECOND, lambda: arena.attack("on-path-rst: {link: r2-h2, when: now}"))
    arena.run()
    assert arena.errors == {"h1": "ECONNRESET", "h2": "ECONNRESET"}
    assert arena.resets("h2")[0] is True
    assert SECOND < arena.scheduler.now() < 200 * SECOND


def test_only_the_connections_it_is_for() -> None:
    arena = Arena()
    spared = arena.attack("on-path-rst: {link: r1-r2, port: 443, when: now}")
    arena.attack("on-path-rst: {link: r1-r2, client: h2, when: now}")
    arena.attack("on-path-rst: {link: r1-r2, server: h1, when: now}")
    arena.transfer(100_000)
    arena.run()
    assert arena.received == 100_000
    assert spared.state == PENDING
    assert spared.results["connections_seen"] == 1


def test_stopped_it_lets_go_of_everything() -> None:
    arena = Arena()
    attack = arena.attack("on-path-rst: {link: r1-r2, when: {state: ESTABLISHED}}")
    attack.stop()
    attack.stop()
    arena.transfer(100_000)
    arena.run()
    assert attack.state == STOPPED
    assert arena.received == 100_000
    assert not arena.sink.listeners
    actions = [ATTACK_ACTIONS[fields["action"]] for fields in arena.sink.of("attack")]
    assert actions == ["CREATED", "STOPPED"]


def test_the_trace_tells_its_story() -> None:
    arena = Arena()
    arena.attack("on-path-rst: {link: r1-r2, when: {bytes: 10kb}, count: 2}")
    arena.transfer(MEGABYTE)
    arena.run()
    story = [(ATTACK_ACTIONS[fields["action"]], fields["packets"]) for fields in arena.sink.of("attack")]
    assert story == [
        ("CREATED", 0),
        ("TRIGGERED", 0),
        ("INJECTED", 1),
        ("INJECTED", 2),
        ("INJECTED", 3),
        ("INJECTED", 4),
        ("DONE", 4),
    ]


LOST_AFTER_THE_ATTACKER = "{direction: r2->h2, match: tcp, stream_bytes: 98000..110000, drop: }"


def test_an_rst_behind_a_lost_segment_is_challenged_and_the_next_one_is_exact() -> None:
    """The attacker on r1-r2 cannot see that r2-h2 loses a segment: RFC 5961 section 3.2 saves the connection once."""

    def attacked(count: int) -> Arena:
        arena = Arena()
        arena.network.links["r2-h2"].add_rule(spec.load(RuleSpec, LOST_AFTER_THE_ATTACKER))
        arena.attack(f"on-path-rst: {{link: r1-r2, to: server, when: {{bytes: 100kb}}, count: {count}}}")
        arena.transfer(MEGABYTE)
        return arena.run()

    once = attacked(1)
    assert once.resets("h2") == [False]
    assert once.received == MEGABYTE
    often = attacked(10)
    assert often.resets("h2")[0] is False
    assert often.resets("h2")[-1] is True
    assert often.errors["h2"] == "ECONNRESET"


def test_an_attack_that_has_rsts_left_when_the_connection_is_gone_waits_until_it_is_stopped() -> None:
    arena = Arena()
    attack = arena.attack("on-path-rst: {link: r2-h2, when: {bytes: 100kb}, count: 1000}")
    arena.transfer(MEGABYTE)
    arena.run()
    assert arena.errors["h1"] == arena.errors["h2"] == "ECONNRESET"
    assert attack.state == RUNNING
    assert attack.packets < 200
    attack.stop()
    assert attack.state == STOPPED


def test_without_it_the_transfer_completes() -> None:
    arena = Arena()
    arena.transfer(MEGABYTE)
    arena.run()
    assert arena.received == MEGABYTE
    assert arena.errors == {"h1": "", "h2": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("on-path-rst: {link: r1-r9}", "this lab has no link 'r1-r9'; did you mean r1-r2?"),
        ("on-path-rst: {link: wire}", "it has h1-r1, r1-r2, r2-h2, mallory-r1"),
        ("on-path-rst: {link: r1-r2, client: nobody}", "this lab has no node 'nobody'; it has h1, h2, mallory, r1, r2"),
        ("on-path-rst: {link: r1-r2, server: 192.0.2.1}", "no node of this lab has the address 192.0.2.1"),
        ("on-path-rst: {link: r1-r2, when: {state: {state: CLOSED, node: h9}}}", "this lab has no node 'h9'"),
    ],
)
def test_what_is_outside_the_lab_is_not_found(text: str, message: str) -> None:
    arena = Arena()
    with pytest.raises(NotFound) as caught:
        arena.attack(text)
    assert message in str(caught.value)
    assert not arena.sink.of("attack")


@pytest.mark.parametrize(
    "text",
    [
        "on-path-rst: {}",
        "on-path-rst: {link: r1-r2, to: nobody}",
        "on-path-rst: {link: r1-r2, when: {state: OPEN}}",
        "on-path-rst: {link: r1-r2, when: {bytes: 0}}",
        "on-path-rst: {link: r1-r2, when: {byts: 1}}",
        "on-path-rst: {link: r1-r2, when: later}",
        "on-path-rst: {link: r1-r2, count: 0}",
    ],
)
def test_a_wrong_spec_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        Arena().attack(text)


def test_a_state_needs_a_trace_that_has_states() -> None:
    with pytest.raises(FailedPrecondition, match="trace level states"):
        Arena(TOPOLOGY, LEVEL_OFF).attack("on-path-rst: {link: r1-r2, when: {state: ESTABLISHED}}")
