"""The options of a script: `--name=value` before its events."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from lab.packetdrill.problem import NotExpressible
from lab.packetdrill.script import Script
from nodes.base.errors import InvalidArgument

MICROSECOND: Final = 1_000

#: Options that change nothing here: what they say is how packetdrill itself is run.
_WITHOUT_EFFECT: Final = frozenset(
    ("code_command", "code_format", "dry_run", "verbose", "debug", "send_omit_free", "speed", "init_scripts")
)


@dataclass(slots=True)
class Config:
    """What a run of a script starts from; packetdrill's names and defaults."""

    local_ip: bytes = b""
    remote_ip: bytes = b""
    gateway_ip: bytes = b""
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 1500
    #: How far from its time something may happen: ns, or a percentage of the time since the event before.
    tolerance: int = 4_000 * MICROSECOND
    tolerance_percent: int = 1
    ts_tick: int = 0
    ts_ecr_scaled: bool = False
    strict_segments: bool = False


def configure(script: Script) -> Config:
    """The options of `script`. Raises InvalidArgument for a value that cannot be, NotExpressible for an option that
    the runner has not."""
    config = Config()
    for name, value, line in script.options:
        if name == "ip_version":
            if value != "ipv4":
                raise NotExpressible(line, f"--ip_version={value}")
        elif name in ("local_ip", "remote_ip", "gateway_ip"):
            setattr(config, name, _address(line, name, value))
        elif name in ("bind_port", "connect_port"):
            setattr(config, name, _number(line, name, value, 1, 65535))
        elif name == "mtu":
            config.mtu = _number(line, name, value, 68, 65535)
        elif name == "tolerance_usecs":
            config.tolerance = _number(line, name, value, 0, 10**9) * MICROSECOND
        elif name == "tolerance_percent":
            config.tolerance_percent = _number(line, name, value, 0, 100)
        elif name == "tcp_ts_tick_usecs":
            config.ts_tick = _number(line, name, value, 0, 10**6)
        elif name == "tcp_ts_ecr_scaled":
            config.ts_ecr_scaled = True
        elif name == "strict_segments":
            config.strict_segments = True
        elif name not in _WITHOUT_EFFECT:
            raise NotExpressible(line, f"option --{name}")
    config.local_ip = config.local_ip or bytes((192, 168, 0, 1))
    config.remote_ip = config.remote_ip or bytes((192, 0, 2, 1))
    config.gateway_ip = config.gateway_ip or _neighbour(config.local_ip)
    return config


def _neighbour(address: bytes) -> bytes:
    """Another address of the same network: the one after, or (where that is the broadcast's) the one before."""
    last = address[-1]
    return address[:-1] + bytes((last + 1 if last < 254 else last - 1,))


def _address(line: int, name: str, value: str) -> bytes:
    try:
        address = ipaddress.ip_address(value).packed
    except ValueError:
        raise InvalidArgument(f"line {line}: --{name}: {value!r} is no IP address", name, line) from None
    if len(address) != 4:
        raise NotExpressible(line, f"--{name}={value}, which is not IPv4")
    return address


def _number(line: int, name: str, value: str, lowest: int, highest: int) -> int:
    if not value.isdecimal() or not lowest <= int(value) <= highest:
        raise InvalidArgument(
            f"line {line}: --{name}: {value!r} is not allowed; a number from {lowest} to {highest} is", name, line
        )
    return int(value)
