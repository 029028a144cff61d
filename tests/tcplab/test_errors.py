"""What goes wrong, as exceptions: their class, the field, the errno, and words that say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

import tcplab.client
from tcplab.client import (
    Controller,
    Error,
    FailedPrecondition,
    InvalidArgument,
    Lab,
    NotFound,
    SocketError,
    Timeout,
    Unavailable,
)


def test_wrong_topology_names_field_and_value(controller: Controller) -> None:
    with pytest.raises(InvalidArgument, match="lots") as caught:
        controller.create_lab(
            {"nodes": {"h1": "host", "h2": "host"}, "links": [{"endpoints": "h1-h2", "loss": "lots"}]}
        )
    assert caught.value.field.endswith("links[0].loss")
    assert controller.labs() == []


def test_unknown_names_say_what_there_is(controller: Controller, pair: Lab) -> None:
    with pytest.raises(Error, match="dumbbell"):
        controller.create_lab("dumbell")
    with pytest.raises(NotFound, match=r"h9.*h1.*h2"):
        pair.node("h9").listen(80)
    with pytest.raises(NotFound, match=r"h1-h9.*h1-h2"):
        pair.link("h1-h9").down()
    with pytest.raises(NotFound, match="h1->h2"):
        pair.link("h1-h2").update("h1->h9", delay="1ms")
    with pytest.raises(NotFound, match="op-77"):
        pair.advance(operations=[f"labs/{pair.name}/operations/op-77"])


@pytest.mark.parametrize("loss", [1.5, -0.1, "101%", "lots"])
def test_wrong_impairments_change_nothing(pair: Lab, loss: str | float) -> None:
    wire = pair.link("h1-h2")
    before = wire.info()
    with pytest.raises(InvalidArgument) as caught:
        wire.update(delay="1ms", loss=loss)
    assert "loss" in caught.value.field
    assert wire.info() == before


def test_wrong_words_say_which_there_are(controller: Controller, pair: Lab) -> None:
    with pytest.raises(InvalidArgument, match="segments"):
        controller.create_lab("pair", level="everything")
    with pytest.raises(InvalidArgument, match="both"):
        pair.attack_on_path_rst("h1-h2", to="everybody")
    with pytest.raises(InvalidArgument, match="ESTABLISHED"):
        pair.attack_on_path_rst("h1-h2", state="CONNECTED")
    with pytest.raises(InvalidArgument, match="hold"):
        pair.link("h1-h2").rule(match="icmp")
    with pytest.raises(InvalidArgument, match=r"tcp\.flags\.sin"):
        pair.link("h1-h2").rule(match="tcp.flags.sin", drop=True)
    with pytest.raises(InvalidArgument, match="duration"):
        pair.advance("soon")
    with pytest.raises(InvalidArgument):
        list(pair.trace("stat"))


def test_sockets_fail_with_their_errno(pair: Lab) -> None:
    with pytest.raises(SocketError, match="refused") as refused:
        pair.node("h1").open("h2", 80)
    assert refused.value.errno_name == "ECONNREFUSED"
    listener = pair.node("h2").listen(80)
    with pytest.raises(SocketError) as in_use:
        pair.node("h2").listen(80)
    assert in_use.value.errno_name == "EADDRINUSE"
    client = pair.node("h1").open("h2", 80)
    listener.accept()
    client.shutdown()
    with pytest.raises(SocketError) as broken:
        client.send(b"more")
    assert broken.value.errno_name == "EPIPE"


def test_timeouts_are_lab_time(pair: Lab) -> None:
    pair.link("h1-h2").down()
    with pytest.raises(Timeout):
        pair.node("h1").open("h2", 80, timeout="2500ms")
    assert pair.now_ns() == 2_500_000_000


def test_deadlines_are_wall_time(pair: Lab) -> None:
    """The clock stops where it is, and can be moved again."""
    with pytest.raises(Timeout):
        pair.advance("1h", pace=1.0, deadline=0.05)
    assert pair.now_ns() < 3600 * 10**9
    assert pair.advance(time="2h").time_ns == 7200 * 10**9


def test_a_deadline_for_every_call(controller: Controller, pair: Lab) -> None:
    """Nobody receives: the window closes, and probes go on for ever, in lab time."""
    with Controller(controller.address, deadline=0.5) as impatient:
        lab = impatient.lab(pair.name)
        lab.node("h2").listen(80)
        client = lab.node("h1").open("h2", 80)
        with pytest.raises(Timeout):
            client.send(pattern=b"x", length="100mb")


def test_waiting_for_what_cannot_come(pair: Lab) -> None:
    listener = pair.node("h2").listen(80)
    with pytest.raises(FailedPrecondition, match=r"accept.*h2"):
        listener.accept()


def test_a_lab_that_is_gone(controller: Controller) -> None:
    lab = controller.create_lab("pair", name="brief")
    with pytest.raises(Error) as taken:
        controller.create_lab("pair", name="brief")
    assert taken.value.code == "ALREADY_EXISTS"
    lab.delete()
    for call in (lab.now_ns, lab.delete, lab.node("h1").connections, lambda: lab.advance("1s")):
        with pytest.raises(NotFound, match="brief"):
            call()


def test_nobody_there(tmp_path: Path) -> None:
    with (
        pytest.raises(Unavailable, match="nobody"),
        tcplab.client.lab("pair", address=f"unix:{tmp_path}/nobody"),
    ):
        pass
