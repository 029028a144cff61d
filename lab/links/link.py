"""A link: two directions, their impairments, rules and state, under one name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from lab.links.direction import Deliver, Direction
from lab.links.impairments import Impairments
from lab.links.match import Resolver
from lab.links.rules import Rule, RuleSpec
from nodes.base.clock import Scheduler
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness


def discard(frame: bytes) -> None:
    """What an end that is not connected yet does with a frame."""


class Link:
    """A link between nodes `a` and `b`. Its directions are named `a->b` and `b->a`.

    Frames go in by `forward.send` (from a) and `backward.send` (from b) and come out by each direction's `deliver`.
    A `direction` argument of "" means both. `interfaces` are the two ends' (`h1:eth0`): trace and random streams name
    the directions by them (`h1-r1/h1:eth0->r1:eth0`), so that a frame can be joined with its interface.
    """

    def __init__(
        self,
        name: str,
        a: str,
        b: str,
        impairments: tuple[Impairments, Impairments],
        scheduler: Scheduler,
        randomness: Randomness,
        sink: EventSink,
        resolve: Resolver | None = None,
        deliver: Deliver = discard,
        interfaces: tuple[str, str] = ("", ""),
    ) -> None:
        self.name = name
        self.a = a
        self.b = b
        self.rules: list[Rule] = []
        self._initial = impairments
        self._randomness = randomness
        self._sink = sink
        self._resolve = resolve
        self._rules_made = 0
        at_a, at_b = interfaces[0] or a, interfaces[1] or b
        self.forward = Direction(f"{name}/{at_a}->{at_b}", impairments[0], scheduler, randomness, sink, deliver)
        self.backward = Direction(f"{name}/{at_b}->{at_a}", impairments[1], scheduler, randomness, sink, deliver)
        self.forward.opposite = self.backward
        self.backward.opposite = self.forward
        self.directions: dict[str, Direction] = {f"{a}->{b}": self.forward, f"{b}->{a}": self.backward}

    @property
    def up(self) -> bool:
        """Whether it carries anything."""
        return self.forward.up

    def direction(self, name: str) -> Direction:
        """One direction, by a name such as `h1->r1`. Raises NotFound."""
        try:
            return self.directions[name]
        except KeyError:
            known = " and ".join(self.directions)
            raise NotFound(f"link {self.name} has no direction {name!r}; it has {known}") from None

    def selected(self, direction: str) -> Sequence[Direction]:
        """The directions that an argument means: one, or both for ""."""
        return (self.direction(direction),) if direction else (self.forward, self.backward)

    def update(self, changes: Mapping[str, Any], direction: str = "") -> None:
        """Change the named impairments (Python field names of Impairments) and no others; all or nothing.

        Raises InvalidArgument naming the field, NotFound for a direction that is not there.
        """
        selected = self.selected(direction)
        merged = [one.impairments.merged(changes) for one in selected]
        for one, impairments in zip(selected, merged, strict=True):
            one.replace(impairments)

    def reset(self, direction: str = "") -> None:
        """Have the impairments of the topology again."""
        for one in self.selected(direction):
            one.replace(self._initial[0] if one is self.forward else self._initial[1])

    def set_up(self, up: bool) -> None:
        """Up or down, both directions."""
        self.forward.set_up(up)
        self.backward.set_up(up)

    def add_rule(self, spec: RuleSpec) -> Rule:
        """Add a packet rule after those there are. Raises InvalidArgument, NotFound, AlreadyExists."""
        selected = self.selected(spec.direction)
        name = spec.name or f"rule-{self._rules_made + 1}"
        if any(rule.name == name for rule in self.rules):
            raise AlreadyExists(f"link {self.name} has a rule {name!r} already")
        bits = self._randomness.stream(f"link/{self.name}/rule/{name}")
        try:
            rule = Rule(spec, name, self._sink.name(name), self._resolve, bits)
        except InvalidArgument as error:
            raise InvalidArgument(f"rule {name}: {error}", "match") from None
        self._rules_made += 1
        self.rules.append(rule)
        for one in selected:
            one.rules.append(rule)
        return rule

    def remove_rule(self, name: str) -> None:
        """Remove a packet rule; what it holds is released. Raises NotFound."""
        rule = self.rule(name)
        self.rules.remove(rule)
        for one in (self.forward, self.backward):
            one.remove_rule(rule)

    def rule(self, name: str) -> Rule:
        """A rule by name. Raises NotFound."""
        for rule in self.rules:
            if rule.name == name:
                return rule
        names = [rule.name for rule in self.rules]
        near = difflib.get_close_matches(name, names, 1)
        known = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
        raise NotFound(f"link {self.name} has no rule {name!r}; {known}")
