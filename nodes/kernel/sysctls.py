"""The kernel's knobs of a network namespace: names, texts, reading and writing (ip-sysctl.rst).

A name is as our own stack has it (`tcp_retries2`, `somaxconn`, `mcast_solicit`) or in full (`net.ipv4.tcp_retries2`).
The kernel says what it knows and what it takes: nothing here keeps a list of its knobs.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from nodes.base.errors import FailedPrecondition, InvalidArgument, Unsupported
from nodes.tcp.parameters import KNOBS

NAME_PATTERN: Final = r"[a-z][a-z0-9_]*|net(\.[A-Za-z0-9_][A-Za-z0-9_:/-]*)+"
NAME_WORDS: Final = "a parameter such as tcp_retries2, or a sysctl such as net.ipv4.tcp_retries2"

#: What names that our own stack has not must begin with.
KERNEL_PREFIXES: Final = ("net.", "tcp_", "ip_", "icmp_", "udp_", "ipfrag_", "igmp_", "fib_", "inet_peer_")

_PLACE: Final = "/proc/sys/"
#: In every namespace there is, and yet the whole machine's, where it can only be turned on (nf_hooks_lwtunnel.c).
_OF_THE_MACHINE: Final = "net.netfilter.nf_hooks_lwtunnel"
_CONGESTION: Final = "net.ipv4.tcp_congestion_control"
_AVAILABLE: Final = "net.ipv4.tcp_available_congestion_control"
_CORE: Final = ("somaxconn", "rmem_max", "wmem_max")
#: Those of our names that are elsewhere.
_ELSEWHERE: Final = {
    "ip6frag_time": "net.ipv6.ip6frag_time",
    "mtu_expires": "net.ipv4.route.mtu_expires",
    "hop_limit": "net.ipv6.conf.default.hop_limit",
}
#: Of neighbours (ARP): the kernel has each of them once for every interface, and once for those to come.
_NEIGHBOUR: Final = ("base_reachable_time_ms", "retrans_time_ms", "mcast_solicit", "ucast_solicit", "app_solicit")
#: Three values: the least, the default, and the most that is taken by itself.
_TRIPLES: Final = ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
_LEAST_BUFFER: Final = 4096
_NO_SYSCTLS: Final = ("profile", "mutants")
_OURS_ONLY: Final = frozenset({*_NO_SYSCTLS, *(knob.name for knob in KNOBS)})


def full_name(name: str) -> str:
    """The sysctl's full name. Raises InvalidArgument for what is no name of one."""
    if not re.fullmatch(NAME_PATTERN, name) or name in _NO_SYSCTLS:
        what = "is of tcplab's own stack; a linux node has sysctls" if name in _NO_SYSCTLS else f"is not {NAME_WORDS}"
        raise InvalidArgument(f"{name} {what}", name)
    if name.startswith("net."):
        return name
    if name in _CORE:
        return f"net.core.{name}"
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if name in _NEIGHBOUR:
        return f"net.ipv4.neigh.default.{name}"
    return f"net.ipv4.{name}"


def short_name(full: str) -> str:
    """The name that `full_name` makes this of, or the full one where there is none."""
    last = full.rpartition(".")[2]
    return last if full_name(last) == full else full


def text_of(full: str, value: object) -> str:
    """A value as it is written: an int, text, or a list of them. One size for a buffer is its default and its most.

    Raises InvalidArgument.
    """
    if isinstance(value, (list, tuple)):
        text = " ".join(text_of("", one) for one in value)
    elif isinstance(value, (int, str)):
        text = str(int(value)) if isinstance(value, int) else " ".join(value.split())
    else:
        raise InvalidArgument(f"{full}: {value!r} is not allowed; an integer, text or a list of them is", full)
    if not text or len(text) > 4000 or not text.isprintable():
        raise InvalidArgument(f"{full}: {value!r} is not allowed; one line of text is", full)
    if full in _TRIPLES and text.isdecimal():
        return f"{min(_LEAST_BUFFER, int(text))} {text} {text}"
    return text


def forwards(parameters: Mapping[str, object]) -> bool:
    """Whether a node with these parameters passes on packets for others."""
    return any(
        full_name(name) in ("net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding") and text_of(name, value) != "0"
        for name, value in parameters.items()
    )


def read(full: str) -> int | str:
    """A sysctl of the calling thread's network namespace. Raises InvalidArgument when this kernel has none."""
    try:
        text = _read(_places(full)[0])
        if full == _CONGESTION:
            text = _congestion().asked_on_routes() or text
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise InvalidArgument(_unknown(full), full) from None
    return int(text) if text.removeprefix("-").isdecimal() else text


def read_all() -> dict[str, int | str]:
    """Those of TCP, of IP and of the neighbours, by their short names where they have one."""
    values: dict[str, int | str] = {}
    for full in _listed():
        try:
            values[short_name(full)] = read(full)
        except (OSError, UnicodeDecodeError, InvalidArgument):
            continue  # one that can only be written, or not by us
    return dict(sorted(values.items()))


def write_all(values: Mapping[str, object]) -> None:
    """Set sysctls of the calling thread's network namespace, all or none.

    Raises InvalidArgument for what this kernel has not or does not take, Unsupported for what it lets nobody change
    here.
    """
    wanted = [(name, full, text_of(full, value)) for name, value in values.items() for full in _places(full_name(name))]
    before: list[tuple[str, str]] = []
    try:
        for name, full, text in wanted:
            old = str(read(full))
            _write(name, full, text)
            before.append((full, old))
    except BaseException:
        for full, old in reversed(before):
            _write(full, full, old)
        raise


def _write(name: str, full: str, text: str) -> None:
    if full == _OF_THE_MACHINE:
        raise Unsupported(f"{name}: {full} is not the network namespace's but the whole machine's")
    try:
        _path(full).write_text(text)
    except PermissionError:
        if full != _CONGESTION:
            raise Unsupported(f"{name}: the kernel lets nobody change {full} in a network namespace") from None
        _ask_on_routes(name, text)
        return
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ERANGE):
            raise InvalidArgument(f"{name}: the kernel does not take {text!r} for {full}", name) from None
        if error.errno == errno.ENOENT:
            raise InvalidArgument(_no_control(name, text), name) from None
        raise FailedPrecondition(f"{name}: {full} = {text!r}: {os.strerror(error.errno or 0)}") from None
    if full == _CONGESTION and _congestion().asked_on_routes():
        _ask_on_routes(name, text)


def _ask_on_routes(name: str, text: str) -> None:
    if text not in _read(_AVAILABLE).split():
        raise InvalidArgument(_no_control(name, text), name)
    _congestion().ask_on_routes(text)


def _no_control(name: str, text: str) -> str:
    return f"{name}: {text!r} is not there; this kernel has {_read(_AVAILABLE)}"


def _congestion() -> ModuleType:
    # It needs pyroute2, which who only reads topologies has not.
    from nodes.kernel import congestion

    return congestion


def _read(full: str) -> str:
    return " ".join(_path(full).read_text().split())


def _places(full: str) -> list[str]:
    """Where a value is. Only the first network namespace has defaults for neighbours: elsewhere they mean all the
    interfaces there are, and so it is with the hop limit."""
    before, dot, last = full.rpartition(".default.")
    if not dot or not (before.endswith(".neigh") or full == _ELSEWHERE["hop_limit"]):
        return [full]
    return [f"{before}.{one.name}.{last}" for one in sorted(_path(before).iterdir())]


def _listed() -> Iterator[str]:
    for directory in ("net.ipv4", "net.core"):
        for entry in os.scandir(_path(directory)):
            if entry.is_file():
                yield f"{directory}.{entry.name}"
    for name in (*_NEIGHBOUR, *_ELSEWHERE):
        yield full_name(name)


def _path(full: str) -> Path:
    # As sysctl(8): a "/" in a name stands for a dot that is part of an interface's name.
    return Path(_PLACE + full.translate(str.maketrans("./", "/.")))


def _unknown(full: str) -> str:
    short = full.rpartition(".")[2]
    if short in _OURS_ONLY:
        return f"{short} is of tcplab's own stack; this kernel has no {full}"
    return f"this kernel has no {full} in a network namespace"
