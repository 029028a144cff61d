"""The attacks that run in a member of a lab: in the link engine's those on links, in a node's those that it sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lab import spec
from lab.attacks.base import Attack, AttackContext
from lab.attacks.catalogue import ATTACKS
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound


class MemberAttacks:
    """Makes attacks in `context`. Methods take and return plain values and raise TcplabErrors."""

    def __init__(self, context: AttackContext) -> None:
        self._context = context
        self._attacks: dict[str, Attack] = {}

    def offer_to(self, offer: Callable[[str, Callable[..., Any]], None]) -> None:
        """Offer the calls by their names (`Member.offer`)."""
        offer("create_attack", self.create_attack)
        offer("stop_attack", self.stop_attack)
        offer("attacks", self.attacks)

    def create_attack(self, name: str, kind: str, attack: Mapping[str, Any]) -> None:
        """Start an attack; `attack` is its spec as in a file."""
        if name in self._attacks:
            raise AlreadyExists(f"there is an attack {name} already")
        if kind not in ATTACKS:
            raise InvalidArgument(f"{kind!r} is no kind of attack; there are {', '.join(ATTACKS)}", "kind")
        made = spec.from_mapping(ATTACKS[kind], attack).make(name, self._context)
        self._attacks[name] = made
        made.start()

    def stop_attack(self, name: str) -> None:
        """Stop an attack; nothing happens when it has ended."""
        if name not in self._attacks:
            raise NotFound(f"{name!r} is no attack here; there are {', '.join(self._attacks) or 'none'}")
        self._attacks[name].stop()

    def attacks(self) -> dict[str, dict[str, Any]]:
        """Every attack made here, by name, as it is now."""
        return {name: one.plain() for name, one in self._attacks.items()}
