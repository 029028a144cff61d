"""Links that the kernel's netem carries: what it is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from lab.engine.netem import netem_request
from lab.links.netem import NetemOptions
from nodes.base.clock import MILLISECOND
from nodes.base.errors import FailedPrecondition, InvalidArgument
from nodes.base.random import CHANCE_ONE
from tests.lab.engine.wires import Wired

SHAPED = """
nodes: {h1: host, h2: host}
links:
  - {endpoints: h1-h2, engine: netem, delay: 20ms, rate: 10mbit, directions: {h2->h1: {delay: 1ms, rate: 0}}}
"""


def decoded(options: NetemOptions) -> Any:
    """The message as pyroute2 reads it."""
    message = tcmsg(netem_request(3, options, 5))
    message.decode()
    return message


def test_every_field_is_in_the_message() -> None:
    message = decoded(NetemOptions(20 * MILLISECOND, 5 * MILLISECOND, 1000, 42, (), 7, 8, 9, 1, 1_250_000))
    assert (message["index"], message["parent"], message.get_attr("TCA_KIND")) == (3, 0xFFFFFFFF, "netem")
    options = message.get_attr("TCA_OPTIONS")
    assert [options[name] for name in ("limit", "loss", "gap", "duplicate")] == [1000, 42, 1, 7]
    assert (options["delay"] * 64, options["jitter"] * 64) == (20 * MILLISECOND, 5 * MILLISECOND)
    assert options.get_attr("TCA_NETEM_CORRUPT")["prob_corrupt"] == 8
    assert options.get_attr("TCA_NETEM_REORDER")["prob_reorder"] == 9
    assert options.get_attr("TCA_NETEM_RATE")["rate"] == 1_250_000


def test_fields_that_are_zero_are_sent_too_or_the_kernel_keeps_what_it_had() -> None:
    options = decoded(NetemOptions(0, 0, 1000, 0, (), 0, 0, 0, 0, 0)).get_attr("TCA_OPTIONS")
    assert options.get_attr("TCA_NETEM_CORRUPT")["prob_corrupt"] == 0
    assert options.get_attr("TCA_NETEM_REORDER")["prob_reorder"] == 0
    assert options.get_attr("TCA_NETEM_RATE")["rate"] == 0
    assert options.get_attr("TCA_NETEM_CORR")["loss_corr"] == 0


def test_each_direction_is_shaped_where_it_leaves() -> None:
    wired = Wired(SHAPED)
    try:
        wired.engine.shape("h1-h2")
        to_h2, to_h1 = (wired.netem.given[wired.devices[end]] for end in ("h2:eth0", "h1:eth0"))
        assert (to_h2.delay_ns, to_h2.rate) == (20 * MILLISECOND, 1_250_000)
        assert (to_h1.delay_ns, to_h1.rate) == (MILLISECOND, 0)
        assert len(set(wired.netem.seeds.values())) == 2
        wired.engine.update("h1-h2", {"loss": CHANCE_ONE // 4}, "h1->h2")
        to_h2 = wired.netem.given[wired.devices["h2:eth0"]]
        assert (to_h2.loss, to_h2.delay_ns) == (0x40000000, 20 * MILLISECOND)
        wired.engine.set_up("h1-h2", False)
        assert {options.loss for options in wired.netem.given.values()} == {0xFFFFFFFF}
        wired.engine.set_up("h1-h2", True)
        wired.engine.reset("h1-h2")
        assert {options.loss for options in wired.netem.given.values()} == {0}
        assert wired.engine.statistics("h1-h2")["h1->h2"]["packets_delivered"] == 7
    finally:
        wired.close()


def test_what_netem_cannot_do_is_refused_and_changes_nothing() -> None:
    wired = Wired(SHAPED)
    try:
        wired.engine.shape("h1-h2")
        before = dict(wired.netem.given)
        with pytest.raises(InvalidArgument, match="overtake"):
            wired.engine.update("h1-h2", {"jitter_ns": MILLISECOND})
        with pytest.raises(FailedPrecondition, match="no packet rules"):
            wired.engine.add_rule("h1-h2", {"drop": None})
        assert wired.netem.given == before
        assert wired.engine.links["h1-h2"].forward.impairments.jitter_ns == 0
    finally:
        wired.close()
