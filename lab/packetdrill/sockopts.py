"""setsockopt and getsockopt of a script."""

from __future__ import annotations

from typing import Final

from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.descriptors import Socket
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Struct
from nodes.base.errors import InvalidArgument
from nodes.tcp.options import NAMES, Options
from nodes.tcp.parameters import Parameters

#: Options of the layers around TCP: what they change, no script of packets can see, or the packets then differ.
_WITHOUT_EFFECT: Final = frozenset(
    (
        "SO_PRIORITY",
        "SO_MARK",
        "IP_TOS",
        "IP_MTU_DISCOVER",
        "IP_FREEBIND",
        "IPV6_TCLASS",
    )
)
_BUFFERS: Final = ("SO_SNDBUF", "SO_RCVBUF")


def set_option(call: Arguments, socket: Socket, now: int, parameters: Parameters) -> None:
    """setsockopt(fd, level, name, [value], size). Raises CallFailed EINVAL for a value that cannot be."""
    name = call.name_at(2)
    if name in _WITHOUT_EFFECT:
        return
    if name == "SO_TIMESTAMPING" and socket.connection is not None:
        socket.errors.stamp(call, socket.connection)
        return
    value: object = call.one_number(3)
    if name == "SO_ZEROCOPY":
        socket.zero_copy = bool(value)
        return
    if name == "TCP_INQ" and isinstance(value, int):
        socket.inq = bool(value)
        return
    if name == "SO_LINGER":
        linger = call.struct(3)
        on, seconds = linger.get("onoff"), linger.get("linger")
        value = seconds if on else -1
    elif name == "TCP_CONGESTION":
        value = call.at(3)
    elif name == "TCP_FASTOPEN_KEY":
        value = _key(call)
    if name not in NAMES:
        raise call.refuse(name)
    if value is None or isinstance(value, Struct):
        raise call.refuse(f"{name}: its value")
    if name in _BUFFERS and isinstance(value, int):
        value = socket.buffers[name] = 2 * value
    target = socket.connection or socket.listener
    try:
        if target is not None:
            target.set_option(now, name, value)
        else:
            Options(parameters).set(parameters, name, value)
            socket.options[name] = value
    except InvalidArgument:
        raise CallFailed("EINVAL") from None


def _key(call: Arguments) -> str:
    """The 16 bytes of TCP_FASTOPEN_KEY as tcp_fastopen_key has them. Raises CallFailed EINVAL for another length."""
    text = call.at(3)
    if not isinstance(text, str):
        raise call.refuse("TCP_FASTOPEN_KEY: its value")
    key = text.encode().decode("unicode_escape").encode("latin-1")
    if call.number(4) != 16 or len(key) != 16:
        raise CallFailed("EINVAL")
    return "-".join(key[at : at + 4][::-1].hex() for at in range(0, 16, 4))


def get_option(call: Arguments, socket: Socket, parameters: Parameters) -> None:
    """getsockopt(fd, level, name, [value], [size]): the script's value has to be ours."""
    name = call.name_at(2)
    target = socket.connection or socket.listener
    actual: object
    if name == "SO_ERROR":
        error = socket.connection.take_error() if socket.connection is not None else ""
        if error:
            raise call.refuse(f"SO_ERROR {error}")
        actual = 0
    elif name == "TCP_MAXSEG" and socket.connection is not None:
        actual = socket.connection.mss
    elif name in socket.buffers:
        actual = socket.buffers[name]
    elif name not in NAMES:
        raise call.refuse(name)
    elif target is not None:
        actual = target.get_option(name)
    else:
        options = Options(parameters)
        for key, value in socket.options.items():
            options.set(parameters, key, value)
        actual = options.get(name)
    compare(call, 3, actual)


def compare(call: Arguments, index: int, actual: object) -> None:
    """The number (or word) in the argument at `index` has to be `actual`. Raises Mismatch."""
    value = call.at(index)
    expected = value if isinstance(value, str) else call.one_number(index)
    if expected is None:
        raise call.refuse("this value")
    if expected != actual:
        raise Mismatch(call.line, f"{call.name} gives {actual} instead of {expected}")
