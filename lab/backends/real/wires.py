"""Links that run in the link engine's process. What is read here are inert copies of its links, rules and attacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab import spec
from lab.attacks.base import Attack, AttackContext, AttackSpec
from lab.backends.wires import Wires
from lab.links.link import Link
from lab.links.rules import Rule, RuleSpec
from lab.topology.file import NETEM
from lab.topology.model import SWITCH, Topology
from nodes.agent.remote import Remote
from nodes.base.clock import Scheduler
from nodes.base.errors import FailedPrecondition
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.base.records import Listener


class EngineWires(Wires):
    """`engine` runs the links, `nodes` attacks that send from a node. `carry(link)` has the engine take over a link
    that the kernel carries so far; it raises when that is not allowed."""

    def __init__(
        self,
        topology: Topology,
        scheduler: Scheduler,
        randomness: Randomness,
        level: int,
        engine: Remote,
        nodes: Mapping[str, Remote],
        carry: Callable[[str], None],
    ) -> None:
        self._topology = topology
        self._engine = engine
        self._nodes = nodes
        self._carry = carry
        self._attacks: dict[str, Attack] = {}
        self._places: dict[str, Remote] = {}
        self._statistics: dict[str, Mapping[str, Mapping[str, int]]] = {}
        silent = EventSink(level)
        self.links = {
            wire.name: Link(
                wire.name,
                wire.a.node,
                wire.b.node,
                (wire.forward, wire.backward),
                scheduler,
                randomness,
                silent,
                topology.addresses,
                interfaces=(str(wire.a), str(wire.b)),
            )
            for wire in topology.links.values()
        }
        addresses = {name: topology.addresses(name) for name, node in topology.nodes.items() if node.kind != SWITCH}
        self._context = AttackContext(
            scheduler, randomness, silent, self.links, addresses, _send_nothing, _hear_nothing
        )

    def update(self, link: str, changes: Mapping[str, Any], direction: str) -> None:
        self._carry_to_impair(link)
        self._engine.call("update", link=link, changes=dict(changes), direction=direction)
        self.links[link].update(changes, direction)

    def set_up(self, link: str, up: bool) -> None:
        self._carry_to_impair(link)
        self._engine.call("set_up", link=link, up=up)
        self.links[link].set_up(up)

    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        made = self.links[link].add_rule(rule)
        try:
            self._carry(link)
            self._engine.call("add_rule", link=link, rule={**spec.plain(rule), "name": made.name})
        except BaseException:
            self.links[link].remove_rule(made.name)
            raise
        return made

    def remove_rule(self, link: str, rule: str) -> None:
        self._engine.call("remove_rule", link=link, rule=rule)
        self.links[link].remove_rule(rule)

    def rules(self, link: str) -> Sequence[Rule]:
        rules = tuple(self.links[link].rules)
        if rules and not self._engine.failure:
            counts = self._engine.call("rules", link=link)
            for rule in rules:
                rule.matches, rule.acted = counts[rule.name]
        return rules

    def statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        if not self._engine.failure:
            self._statistics[link] = self._engine.call("statistics", link=link)
        return self._statistics.get(link) or {
            name: one.statistics.as_dict() for name, one in self.links[link].directions.items()
        }

    def make_attack(self, name: str, attack: AttackSpec) -> tuple[Attack, Callable[[], None]]:
        made = attack.make(name, self._context)
        place = attack.place()
        remote = self._nodes[place] if place else self._engine
        if remote.failure:
            raise FailedPrecondition(f"{remote.name} has FAILED: {remote.failure}")

        def begin() -> None:
            for link in attack.taps():
                self._carry(link)
            remote.call("create_attack", name=name, kind=attack.kind, attack=spec.plain(attack))
            self._attacks[name] = made
            self._places[name] = remote

        return made, begin

    def attacks(self) -> Mapping[str, Attack]:
        for remote in {id(one): one for one in self._places.values()}.values():
            if remote.failure:
                continue
            for name, said in remote.call("attacks").items():
                attack = self._attacks.get(name)
                if attack is not None:
                    attack.take(said)
        return self._attacks

    def stop_attack(self, name: str) -> None:
        self._places[name].call("stop_attack", name=name)
        self.attacks()

    def _carry_to_impair(self, link: str) -> None:
        """Netem impairs a link that the kernel carries; else the engine has to carry it."""
        if self._topology.links[link].engine != NETEM:
            self._carry(link)

    def freeze(self) -> None:
        """Take what is to be known when the engine is gone."""
        for link in self.links:
            self.rules(link)
            self.statistics(link)
        self.attacks()


def _send_nothing(node: str, packet: bytes) -> None:
    """The copies of attacks are never begun."""


def _hear_nothing(kinds: tuple[int, ...], listener: Listener) -> Callable[[], None]:
    raise AssertionError("the copies of attacks are never begun")
