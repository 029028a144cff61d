"""ifconfig, ip, route and sysctl of a host of a script, as far as they change what our stack has.

What only shows something, or is about the interface itself (up, down, its MTU), is left to who asked: `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from typing import Final, Protocol

from lab.backends.mininet.kept import EVERYWHERE, KeptHost
from nodes.base.errors import InvalidArgument, NotFound, TcplabError
from nodes.tcp.parameters import NAMES

#: What became of a command: exit code, standard output, standard error; None: it is none of ours.
Outcome = tuple[int, str, str] | None
_DONE: Final = (0, "", "")


class Owner(Protocol):
    """Has the stacks of hosts."""

    def renew(self, host: KeptHost) -> None: ...
    def parameters(self, host: KeptHost) -> Mapping[str, int | str]: ...
    def set_parameters(self, host: KeptHost, values: Mapping[str, int | str]) -> None: ...


def run_command(owner: Owner, host: KeptHost, argv: Sequence[str]) -> Outcome:
    """Do it on the host."""
    program, *words = argv
    run = _PROGRAMS.get(program)
    try:
        outcome = run(owner, host, words) if run is not None else None
        if outcome is not None:
            owner.renew(host)
    except (TcplabError, ValueError) as error:
        return 2, "", f"{error}\n"
    return outcome


def _ifconfig(owner: Owner, host: KeptHost, words: list[str]) -> Outcome:
    device, *rest = words or [""]
    if device not in host.devices or not rest or not (rest[0][:1].isdigit() or rest[0] == "inet"):
        return None
    address, *more = rest[1:] if rest[0] == "inet" else rest
    if "netmask" in more:
        address = f"{address.partition('/')[0]}/{_after('netmask', more)}"
    elif "/" not in address:
        address += _class_prefix(IPv4Address(address))
    host.set_address(device, "" if address.startswith("0.0.0.0") else address)
    return _DONE


def _ip(owner: Owner, host: KeptHost, words: list[str]) -> Outcome:
    words = [word for word in words if word not in ("-4", "-f", "inet")]
    if len(words) < 2:
        return None
    what, verb, rest = words[0], words[1], words[2:]
    if "address".startswith(what):
        return _ip_address(host, verb, rest)
    if "route".startswith(what):
        return _ip_route(host, verb, rest)
    return None


def _ip_address(host: KeptHost, verb: str, rest: list[str]) -> Outcome:
    device = _after("dev", rest)
    if device not in host.devices:
        return None
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
        return None
    return _DONE


def _ip_route(host: KeptHost, verb: str, rest: list[str]) -> Outcome:
    if verb in ("add", "a", "replace", "change", "append"):
        via = _after("via", rest)
        network, device = _network(rest[0]), _after("dev", rest)
        host.add_route(network, IPv4Address(via) if via else None, device, replace=verb in ("replace", "change"))
    elif verb in ("del", "delete", "d"):
        _delete_route(host, _network(rest[0]), "RTNETLINK answers: No such process")
    elif verb in ("flush", "f"):
        host.routes.clear()
    else:
        return None
    return _DONE


def _route(owner: Owner, host: KeptHost, words: list[str]) -> Outcome:
    words = [word for word in words if word not in ("-net", "-host", "-n", "-4")]
    if not words or words[0] not in ("add", "del") or len(words) < 2:
        return None
    verb, to, *rest = words
    mask, gateway = _after("netmask", rest), _after("gw", rest)
    network = _network(f"{to}/{mask}" if mask else to)
    if verb == "del":
        _delete_route(host, network, "SIOCDELRT: No such process")
        return _DONE
    device = _after("dev", rest)
    if not device and rest and rest[-1] in host.devices:
        device = rest[-1]
    host.add_route(network, IPv4Address(gateway) if gateway else None, device)
    return _DONE


def _sysctl(owner: Owner, host: KeptHost, words: list[str]) -> Outcome:
    quiet = {"-q", "-qw", "-wq"} & {*words}
    bare = bool({"-n", "-bn", "-nb"} & {*words})
    settings = [word for word in words if not word.startswith("-")]
    names = [_name(setting) for setting in settings]
    if not names or any(name not in NAMES for name in names):
        return None
    said = []
    for setting, name in zip(settings, names, strict=True):
        full, sign, value = setting.partition("=")
        if sign:
            owner.set_parameters(host, {name: value.strip().strip("\"'")})
        shown = owner.parameters(host)[name]
        said.append(f"{shown}\n" if bare else f"{full.strip().replace('/', '.')} = {shown}\n")
    return 0, "" if quiet else "".join(said), ""


_PROGRAMS: Final[dict[str, Callable[[Owner, KeptHost, list[str]], Outcome]]] = {
    "ifconfig": _ifconfig,
    "ip": _ip,
    "route": _route,
    "sysctl": _sysctl,
}


def _name(setting: str) -> str:
    """`tcp_sack` of `net.ipv4.tcp_sack=0`; "" for what is of no stack."""
    full = setting.partition("=")[0].strip().replace("/", ".")
    return full.rpartition(".")[2] if full.startswith(("net.ipv4.", "net.core.")) else ""


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
