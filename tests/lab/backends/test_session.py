"""A run can be made again from its own trace, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.backends.session import rerun, start
from lab.backends.until import EventFilter, Until
from lab.experiments.runner import run
from lab.experiments.spec import load
from lab.shipped import shipped_files
from lab.spec import read_file
from lab.topology.loader import find_topology
from nodes.agent.payload import Payload
from nodes.base.clock import SECOND
from nodes.base.errors import AlreadyExists, InvalidArgument, SocketError
from nodes.base.events import LEVEL_ALL, LEVEL_OFF
from tests.runs import BACKENDS

SHIPPED = {name: path for name, path in shipped_files("experiments").items() if "sim" in BACKENDS[name]}


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "blind-rst"])
def test_the_calls_of_an_experiment_made_again_give_its_bytes(name: str, tmp_path: Path) -> None:
    path = SHIPPED[name]
    run(load(read_file(path)), path.read_text("utf-8"), tmp_path / "a", seed=3, export=False)
    rerun(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "events.spool").read_bytes() == (tmp_path / "b" / "events.spool").read_bytes()


def test_a_session_with_calls_in_the_middle_of_instants_and_refused_ones(tmp_path: Path) -> None:
    bundle, lab = start(tmp_path / "a", "mine", find_topology("star"), 7, LEVEL_ALL, True, "star")
    listener = lab.listen("h2", 80)
    accepting = lab.accept("h2", listener.number, timeout_ns=9 * SECOND)
    opening = lab.open("h1", "h2", 80, options={"TCP_NODELAY": 1})
    lab.advance(Until(event=EventFilter("segment", "h2", where={"direction": "RECEIVED"})))
    lab.update_link("h1-s1", {"loss": 500_000_000}, "h1->s1")
    lab.send("h1", opening.connection, Payload(b"xyz", 30_000))
    advance = lab.start_advance(Until(idle=True))
    advance.step(5)
    advance.close()
    lab.set_parameters("h2", {"tcp_delack_ms": 7})
    lab.advance(Until(operations=(accepting.name,)))
    lab.close("h1", opening.connection)
    with pytest.raises(SocketError, match="EBADF"):
        lab.shutdown("h1", opening.connection)
    lab.start_app("h3", "heartbeat", {"to": "h4", "port": 9, "interval": "1s"})
    lab.advance(Until(time_ns=lab.now() + 3 * SECOND))
    lab.close_lab()
    rerun(tmp_path / "a", tmp_path / "b")
    assert bundle.spool.read_bytes() == (tmp_path / "b" / "events.spool").read_bytes()


def test_what_cannot_be_run_again_says_so(tmp_path: Path) -> None:
    _, lab = start(tmp_path / "off", "mine", find_topology("pair"), 1, LEVEL_OFF, False, "pair")
    lab.close_lab()
    with pytest.raises(InvalidArgument, match="cannot be run again"):
        rerun(tmp_path / "off", tmp_path / "b")
    _, lab = start(tmp_path / "cut", "mine", find_topology("pair"), 1, LEVEL_ALL, False, "pair")
    lab.listen("h1", 80)
    lab.sink.close()
    with pytest.raises(InvalidArgument, match="cannot be run again"):
        rerun(tmp_path / "cut", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(AlreadyExists):
        start(tmp_path / "off", "mine", find_topology("pair"), 1, LEVEL_ALL, False, "pair")
