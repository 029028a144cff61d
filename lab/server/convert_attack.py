"""Attacks of the API from and to those of a lab."""

from __future__ import annotations

from typing import Any, Final

from lab import spec, units
from lab.attacks.base import Attack, AttackSpec
from lab.attacks.blind_rst import BlindRst
from lab.attacks.on_path_rst import AfterBytes, AtTime, OnPathRst, OnState
from lab.server import names
from nodes.base.errors import InvalidArgument
from nodes.tcp.states import STATE_NAMES
from tcplab.v1 import attack_pb2, connection_pb2

_TARGETS: Final = {
    attack_pb2.OnPathRst.TARGET_UNSPECIFIED: "both",
    attack_pb2.OnPathRst.TARGET_CLIENT: "client",
    attack_pb2.OnPathRst.TARGET_SERVER: "server",
    attack_pb2.OnPathRst.TARGET_BOTH: "both",
}


def attack_spec(lab: str, message: attack_pb2.Attack) -> AttackSpec:
    """The attack as a file would say it, so that the same checks hold. Raises InvalidArgument."""
    kind = message.WhichOneof("spec")
    if kind is None:
        raise InvalidArgument("attack.spec: nothing to do; give one of on_path_rst, blind_rst", "attack.spec")
    try:
        if kind == "on_path_rst":
            return spec.from_mapping(OnPathRst, _on_path(lab, message.on_path_rst))
        return spec.from_mapping(BlindRst, _blind(lab, message.blind_rst))
    except InvalidArgument as error:
        place = f"attack.{kind}"
        field = error.field if error.field.startswith(place) else f"{place}.{error.field}".rstrip(".")
        raise InvalidArgument(str(error) if field == error.field else f"{field}: {error}", field) from None


def _on_path(lab: str, message: attack_pb2.OnPathRst) -> dict[str, Any]:
    said: dict[str, Any] = {
        "link": names.inside(lab, names.LINK, message.link, "attack.on_path_rst.link"),
        "client": message.client,
        "server": message.server,
        "port": message.port,
        "count": message.count or 1,
    }
    if message.to not in _TARGETS:
        raise InvalidArgument(f"{message.to} is the number of no target", "to")
    said["to"] = _TARGETS[message.to]
    when = message.WhichOneof("when")
    if when == "state":
        number = message.state.state
        if not 0 < number < len(STATE_NAMES):
            raise InvalidArgument(f"{number} is the number of no state", "state.state")
        said["when"] = {"state": {"state": STATE_NAMES[number], "node": message.state.node}}
    elif when == "bytes":
        said["when"] = {"bytes": message.bytes}
    elif when == "time_ns":
        if message.time_ns < 0:
            raise InvalidArgument(f"{message.time_ns} ns is before the lab began", "time_ns")
        said["when"] = {"time": units.format_duration(message.time_ns)}
    return said


def _blind(lab: str, message: attack_pb2.BlindRst) -> dict[str, Any]:
    first = message.spoof_port_first
    said: dict[str, Any] = {
        "node": names.inside(lab, names.NODE, message.node, "attack.blind_rst.node"),
        "spoof": message.spoof,
        "spoof_ports": f"{first}-{message.spoof_port_last or first}",
        "target": message.target,
        "target_port": message.target_port,
        "seq_start": message.seq_start,
        "seq_count": message.seq_count,
    }
    for name in ("step", "rate"):
        if value := getattr(message, name):
            said[name] = value
    return said


def attack(lab: str, one: Attack) -> attack_pb2.Attack:
    made: Any = one
    message = attack_pb2.Attack(
        name=f"labs/{lab}/attacks/{one.name}",
        state=attack_pb2.Attack.State.Value(f"STATE_{one.state}"),
        packets=one.packets,
        results=one.results,
        create_time_ns=one.created_ns,
        trigger_time_ns=one.triggered_ns if one.triggered_ns >= 0 else None,
        end_time_ns=one.ended_ns if one.ended_ns >= 0 else None,
    )
    if isinstance(made.spec, OnPathRst):
        message.on_path_rst.CopyFrom(_on_path_message(lab, made.spec))
    else:
        message.blind_rst.CopyFrom(_blind_message(lab, made.spec))
    return message


def _on_path_message(lab: str, one: OnPathRst) -> attack_pb2.OnPathRst:
    message = attack_pb2.OnPathRst(
        link=f"labs/{lab}/links/{one.link}",
        to=attack_pb2.OnPathRst.Target.Value(f"TARGET_{one.to.upper()}"),
        client=one.client,
        server=one.server,
        port=one.port,
        count=one.count,
    )
    if isinstance(one.when, OnState):
        state = connection_pb2.TcpState.ValueType(STATE_NAMES.index(one.when.state))
        message.state.CopyFrom(attack_pb2.StateCondition(state=state, node=one.when.node))
    elif isinstance(one.when, AfterBytes):
        message.bytes = one.when.bytes
    elif isinstance(one.when, AtTime):
        message.time_ns = one.when.time_ns
    return message


def _blind_message(lab: str, one: BlindRst) -> attack_pb2.BlindRst:
    first, last = one.spoof_ports
    return attack_pb2.BlindRst(
        node=f"labs/{lab}/nodes/{one.node}",
        spoof=one.spoof,
        spoof_port_first=first,
        spoof_port_last=last,
        target=one.target,
        target_port=one.target_port,
        seq_start=one.seq_start,
        seq_count=one.seq_count,
        step=one.step,
        rate=one.rate,
    )
