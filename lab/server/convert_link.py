"""Links, impairments and packet rules of the API from and to those of a lab."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lab import spec, units
from lab.links.impairments import Impairments
from lab.links.link import Link
from lab.links.rules import ACTIONS, Corrupt, Delay, Drop, Duplicate, Hold, Rule, RuleSpec
from lab.server.convert import duration, nanoseconds
from lab.topology.model import Wire
from nodes.base.errors import InvalidArgument
from nodes.base.random import CHANCE_ONE
from tcplab.v1 import link_pb2

#: Impairments that are chances: floats here, ints of CHANCE_ONE in a lab.
CHANCES: Final = (
    "loss",
    "gemodel_p",
    "gemodel_r",
    "gemodel_1h",
    "gemodel_1k",
    "duplicate",
    "corrupt",
    "reorder",
    "red_probability",
)
_DURATIONS: Final = ("delay", "jitter", "reorder_delay")
_FIELDS: Final = tuple(field.name for field in link_pb2.Impairments.DESCRIPTOR.fields)
_SIDES: Final = ("forward", "backward")
_DEFAULT: Final = Impairments()


def link(lab: str, one: Link, wire: Wire) -> link_pb2.Link:
    return link_pb2.Link(
        name=f"labs/{lab}/links/{one.name}",
        a=str(wire.a),
        b=str(wire.b),
        up=one.up,
        mtu=wire.mtu,
        forward=impairments(one.forward.impairments),
        backward=impairments(one.backward.impairments),
    )


def impairments(one: Impairments) -> link_pb2.Impairments:
    chances = {name: getattr(one, name) / CHANCE_ONE for name in CHANCES}
    return link_pb2.Impairments(
        delay=duration(one.delay_ns),
        jitter=duration(one.jitter_ns),
        reorder_gap=one.reorder_gap,
        reorder_delay=duration(one.reorder_delay_ns),
        rate_bps=one.rate_bps,
        limit_packets=one.limit_packets,
        limit_bytes=one.limit_bytes,
        ecn_threshold=one.ecn_threshold,
        queue=one.queue,
        red_min=one.red_min,
        red_max=one.red_max,
        red_ecn=one.red_ecn,
        **chances,
    )


class LinkUpdate:
    """What an UpdateLink changes: `up` (None: stays) and, for each side, fields of Impairments by their Python names.

    Without a mask every field that is set; else what the mask names, fields that are not set becoming their defaults.
    Raises InvalidArgument.
    """

    def __init__(self, request: link_pb2.UpdateLinkRequest) -> None:
        message = request.link
        self.up: bool | None = None
        self.sides: dict[str, dict[str, Any]] = {side: {} for side in _SIDES}
        if not request.update_mask.paths:
            self.up = message.up if message.HasField("up") else None
            for side in _SIDES:
                given: link_pb2.Impairments = getattr(message, side)
                self._take(side, given, [field.name for field, _ in given.ListFields()])
        for path in request.update_mask.paths:
            side, _, name = path.partition(".")
            if path == "up":
                self.up = message.up
            elif side in _SIDES and (not name or name in _FIELDS):
                self._take(side, getattr(message, side), [name] if name else _FIELDS)
            else:
                raise InvalidArgument(
                    f"update_mask: {path[:80]!r} cannot be changed; up, forward, backward, or one field of these can, "
                    f"such as forward.loss: {', '.join(_FIELDS)}",
                    "update_mask",
                )
        if self.up is None and not any(self.sides.values()):
            raise InvalidArgument("link: nothing to change; set up, forward or backward", "link")

    def check(self, one: Link) -> None:
        """That all of it can be done. Raises InvalidArgument with the field."""
        for side, changes in self.sides.items():
            direction = one.forward if side == "forward" else one.backward
            try:
                direction.impairments.merged(changes)
            except InvalidArgument as error:
                field = f"link.{side}.{_field_of(error.field)}"
                raise InvalidArgument(f"{field}: {error}", field) from None

    def _take(self, side: str, given: link_pb2.Impairments, fields: Sequence[str]) -> None:
        for name in fields:
            value = getattr(given, name)
            place = f"link.{side}.{name}"
            target = f"{name}_ns" if name in _DURATIONS else name
            if not given.HasField(name):  # type: ignore[arg-type]
                self.sides[side][target] = getattr(_DEFAULT, target)
            elif name in _DURATIONS:
                self.sides[side][target] = nanoseconds(value, place)
            elif name in CHANCES:
                self.sides[side][target] = chance(value, place)
            else:
                self.sides[side][target] = value


def chance(value: float, field: str) -> int:
    """Out of CHANCE_ONE. Raises InvalidArgument outside 0 to 1."""
    if math.isnan(value) or not 0 <= value <= 1:
        raise InvalidArgument(f"{field}: {value:g} is not a chance: 0 to 1 is (0.01 for 1 %)", field)
    return round(value * CHANCE_ONE)


def _field_of(key: str) -> str:
    """The API's name of a field that has another in files."""
    return {"rate": "rate_bps", "limit": "limit_packets"}.get(key, key)


def rule_spec(request: link_pb2.CreateRuleRequest) -> RuleSpec:
    """The rule as a file would say it, so that the same checks hold. Raises InvalidArgument."""
    rule = request.rule
    action = rule.WhichOneof("action")
    said: dict[str, Any] = {
        "name": request.rule_id,
        "direction": rule.direction,
        "match": rule.match,
        "nth": rule.nth,
        "stream_bytes": rule.stream_bytes,
    }
    said = {name: value for name, value in said.items() if value}
    if action is None:
        raise InvalidArgument(f"rule.action: nothing to do; give one of {', '.join(ACTIONS)}", "rule.action")
    said[action] = {}
    if action == "delay":
        said[action] = units.format_duration(nanoseconds(rule.delay.delay, "rule.delay.delay", 1))
    elif action == "duplicate" and rule.duplicate.copies:
        said[action] = rule.duplicate.copies
    elif action == "hold":
        said[action] = rule.hold.packets
    try:
        return spec.from_mapping(RuleSpec, said)
    except InvalidArgument as error:
        field = "rule_id" if error.field == "name" else f"rule.{error.field}"
        raise InvalidArgument(f"{field}: {error}", field) from None


def rule(lab: str, one: Link, made: Rule) -> link_pb2.Rule:
    spec_ = made.spec
    message = link_pb2.Rule(
        name=f"labs/{lab}/links/{one.name}/rules/{made.name}",
        direction=spec_.direction,
        match=spec_.match,
        nth=str(spec_.nth),
        stream_bytes="{}..{}".format(*spec_.stream_bytes) if spec_.stream_bytes else "",
        matches=made.matches,
        acted=made.acted,
    )
    action = spec_.action
    if isinstance(action, Drop):
        message.drop.SetInParent()
    elif isinstance(action, Delay):
        message.delay.delay.CopyFrom(duration(action.delay_ns))
    elif isinstance(action, Duplicate):
        message.duplicate.copies = action.copies
    elif isinstance(action, Corrupt):
        message.corrupt.SetInParent()
    elif isinstance(action, Hold):
        message.hold.packets = action.packets
    else:
        message.reset.SetInParent()
    return message


def statistics(counts: Mapping[str, int]) -> link_pb2.LinkStatistics:
    return link_pb2.LinkStatistics(**dict(counts))
