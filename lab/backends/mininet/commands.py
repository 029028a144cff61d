"""ifconfig, ip and route of a host of a script, as far as they change something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from typing import Final

from lab.backends.mininet.kept import EVERYWHERE, KeptHost
from nodes.base.errors import InvalidArgument, NotFound, TcplabError


class Whose(Enum):
    """Who does what a command says."""

    #: It is done: our stack has it.
    OURS = auto()
    #: It is about the interface itself (up, down, its MTU), which is the kernel's.
    KERNEL = auto()
    #: It only shows something.
    VIEW = auto()


def run_command(renew: Callable[[KeptHost], None], host: KeptHost, argv: Sequence[str]) -> tuple[Whose, int, str]:
    """Do it on the host, whose stack is then renewed. Returns whose it is, the exit code and what to say of errors."""
    program, *words = argv
    run = _PROGRAMS.get(program)
    if run is None:
        return Whose.VIEW, 0, ""
    try:
        whose = run(host, words)
        if whose is Whose.OURS:
            renew(host)
    except (TcplabError, ValueError, IndexError) as error:
        return Whose.OURS, 2, f"{error}\n"
    return whose, 0, ""


def _ifconfig(host: KeptHost, words: list[str]) -> Whose:
    device, *rest = words or [""]
    if not rest or device.startswith("-"):
        return Whose.VIEW
    if device in host.devices and rest[0] == "mtu":
        host.set_mtu(device, _after("mtu", rest))
        return Whose.OURS
    if device not in host.devices or not (rest[0][:1].isdigit() or rest[0] == "inet"):
        return Whose.KERNEL
    address, *more = rest[1:] if rest[0] == "inet" else rest
    if "netmask" in more:
        address = f"{address.partition('/')[0]}/{_after('netmask', more)}"
    elif "/" not in address:
        address += _class_prefix(IPv4Address(address))
    host.set_address(device, "" if address.startswith("0.0.0.0") else address)
    return Whose.OURS


def _ip(host: KeptHost, words: list[str]) -> Whose:
    words = [word for word in words if word not in ("-4", "-f", "inet")]
    if len(words) < 2:
        return Whose.VIEW
    what, verb, rest = words[0], words[1], words[2:]
    if "link".startswith(what):
        return _ip_link(host, verb, rest)
    if "address".startswith(what):
        return _ip_address(host, verb, rest)
    if "route".startswith(what):
        return _ip_route(host, verb, rest)
    return Whose.VIEW


def _ip_link(host: KeptHost, verb: str, rest: list[str]) -> Whose:
    if "show".startswith(verb) or verb in ("list", "ls", "dev"):
        return Whose.VIEW
    device = next((word for word in rest if word in host.devices), "")
    if verb == "set" and device and "mtu" in rest:
        host.set_mtu(device, _after("mtu", rest))
        return Whose.OURS
    return Whose.KERNEL


def _ip_address(host: KeptHost, verb: str, rest: list[str]) -> Whose:
    device = _after("dev", rest)
    if device not in host.devices:
        return Whose.VIEW
    if verb in ("add", "a", "replace", "change"):
        host.set_address(device, rest[0] if "/" in rest[0] else f"{rest[0]}/32")
    elif verb in ("del", "delete", "d"):
        own = host.device(device).address
        if own is None or own.ip != IPv4Interface(rest[0]).ip:
            raise InvalidArgument("RTNETLINK answers: Cannot assign requested address")
        host.set_address(device, "")
    elif verb in ("flush", "f"):
        host.set_address(device, "")
    else:
        return Whose.VIEW
    return Whose.OURS


def _ip_route(host: KeptHost, verb: str, rest: list[str]) -> Whose:
    if verb in ("add", "a", "replace", "change", "append"):
        via = _after("via", rest)
        network, device = _network(rest[0]), _after("dev", rest)
        host.add_route(network, IPv4Address(via) if via else None, device, replace=verb in ("replace", "change"))
    elif verb in ("del", "delete", "d"):
        _delete_route(host, _network(rest[0]), "RTNETLINK answers: No such process")
    elif verb in ("flush", "f"):
        host.routes.clear()
    else:
        return Whose.VIEW
    return Whose.OURS


def _route(host: KeptHost, words: list[str]) -> Whose:
    words = [word for word in words if word not in ("-net", "-host", "-n", "-4")]
    if not words or words[0] not in ("add", "del") or len(words) < 2:
        return Whose.VIEW
    verb, to, *rest = words
    mask, gateway = _after("netmask", rest), _after("gw", rest)
    network = _network(f"{to}/{mask}" if mask else to)
    if verb == "del":
        _delete_route(host, network, "SIOCDELRT: No such process")
        return Whose.OURS
    device = _after("dev", rest)
    if not device and rest and rest[-1] in host.devices:
        device = rest[-1]
    host.add_route(network, IPv4Address(gateway) if gateway else None, device)
    return Whose.OURS


_PROGRAMS: Final = {"ifconfig": _ifconfig, "ip": _ip, "route": _route}


def _after(word: str, words: Sequence[str]) -> str:
    """What follows a word; "" when it is not there."""
    place = words.index(word) + 1 if word in words else len(words)
    return words[place] if place < len(words) else ""


def _network(text: str) -> IPv4Network:
    if text == "default":
        return EVERYWHERE
    try:
        return IPv4Network(text, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise InvalidArgument(f'Error: any valid prefix is expected rather than "{text}".') from None


def _delete_route(host: KeptHost, network: IPv4Network, missing: str) -> None:
    if host.routes.pop(network, None) is None:
        raise NotFound(missing)


def _class_prefix(address: IPv4Address) -> str:
    """The prefix length that ifconfig takes when none is given: that of the address's class."""
    first = address.packed[0]
    return "/8" if first < 128 else "/16" if first < 192 else "/24"
