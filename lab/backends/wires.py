"""`Wires`: what a lab does with its links, their rules and its attacks. `LocalWires` has them in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lab.attacks.base import Attack, AttackContext, AttackSpec
from lab.links.link import Link
from lab.links.rules import Rule, RuleSpec


class Wires(ABC):
    """Links by name. What is asked of them has been checked by whoever asks: names are known, values allowed."""

    links: Mapping[str, Link]

    @abstractmethod
    def update(self, link: str, changes: Mapping[str, Any], direction: str) -> None:
        """Change impairments."""

    @abstractmethod
    def set_up(self, link: str, up: bool) -> None:
        """Take a link down or up."""

    @abstractmethod
    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        """Append a packet rule."""

    @abstractmethod
    def remove_rule(self, link: str, rule: str) -> None:
        """Remove a packet rule."""

    @abstractmethod
    def rules(self, link: str) -> Sequence[Rule]:
        """A link's rules with what they have done so far."""

    @abstractmethod
    def statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        """Counters of each direction by name."""

    @abstractmethod
    def make_attack(self, name: str, attack: AttackSpec) -> tuple[Attack, Callable[[], None]]:
        """An attack, checked but not begun, and the call that begins it."""

    @abstractmethod
    def attacks(self) -> Mapping[str, Attack]:
        """Every attack made, as it is now."""

    @abstractmethod
    def stop_attack(self, name: str) -> None:
        """Stop an attack."""


class LocalWires(Wires):
    """Links that run in this process."""

    def __init__(self, links: Mapping[str, Link], context: AttackContext) -> None:
        self.links = links
        self._context = context
        self._attacks: dict[str, Attack] = {}

    def update(self, link: str, changes: Mapping[str, Any], direction: str) -> None:
        self.links[link].update(changes, direction)

    def set_up(self, link: str, up: bool) -> None:
        self.links[link].set_up(up)

    def add_rule(self, link: str, rule: RuleSpec) -> Rule:
        return self.links[link].add_rule(rule)

    def remove_rule(self, link: str, rule: str) -> None:
        self.links[link].remove_rule(rule)

    def rules(self, link: str) -> Sequence[Rule]:
        return tuple(self.links[link].rules)

    def statistics(self, link: str) -> Mapping[str, Mapping[str, int]]:
        return {name: one.statistics.as_dict() for name, one in self.links[link].directions.items()}

    def make_attack(self, name: str, attack: AttackSpec) -> tuple[Attack, Callable[[], None]]:
        made = attack.make(name, self._context)

        def begin() -> None:
            self._attacks[name] = made
            made.start()

        return made, begin

    def attacks(self) -> Mapping[str, Attack]:
        return self._attacks

    def stop_attack(self, name: str) -> None:
        self._attacks[name].stop()
