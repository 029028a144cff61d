"""What the system calls of a script send and receive: how much, with which flags, and what comes beside it."""

from __future__ import annotations

from typing import Final

from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.descriptors import Socket
from lab.packetdrill.script import Array, Expression, Name, Struct, Unnamed

#: Flags that send and recv know.
SEND_FLAGS: Final = frozenset(
    ("MSG_NOSIGNAL", "MSG_DONTWAIT", "MSG_ZEROCOPY", "MSG_MORE", "MSG_EOR", "MSG_FASTOPEN", "MSG_OOB")
)
BITS: Final = {
    "MSG_OOB": 1,
    "MSG_PEEK": 2,
    "MSG_DONTWAIT": 0x40,
    "MSG_EOR": 0x80,
    "MSG_ERRQUEUE": 0x2000,
    "MSG_NOSIGNAL": 0x4000,
    "MSG_MORE": 0x8000,
    "MSG_FASTOPEN": 0x2000_0000,
}
RECEIVE_FLAGS: Final = frozenset(("MSG_NOSIGNAL", "MSG_DONTWAIT", "MSG_PEEK", "MSG_OOB"))


def buffer(call: Arguments) -> int:
    """The size of the buffer in the second and third arguments."""
    if call.null(1) and call.name in ("write", "send", "sendto"):
        raise CallFailed("EFAULT")
    if not isinstance(call.at(1), Unnamed) and not call.null(1):
        raise call.refuse("data of its own")
    return call.number(2)


def vector(call: Arguments, pieces: Expression | None) -> int:
    """The size of all buffers in `[{..., 40}, {..., 20}]`."""
    if not isinstance(pieces, Array):
        raise call.refuse("this vector")
    total = 0
    for piece in pieces.items:
        if not isinstance(piece, Struct) or len(piece.members) != 2:
            raise call.refuse("this vector")
        total += call.number_of(piece.members[1][1])
    return total


def flags(call: Arguments, index: int, known: frozenset[str]) -> frozenset[str]:
    """The flags in the argument at `index`, all of which have to be `known`."""
    found = call.names(index, BITS)
    if not found <= known:
        raise call.refuse(" ".join(sorted(found - known)))
    return found


def left(call: Arguments, control: Expression | None, socket: Socket) -> int:
    """The TCP_CM_INQ in what recvmsg is to bring beside the data; -1: nothing."""
    if control is None:
        return -1
    if isinstance(control, Array) and len(control.items) == 1 and isinstance(control.items[0], Struct):
        message = control.items[0]
        data = message.get("cmsg_data")
        if message.get("cmsg_type") == Name("TCP_CM_INQ") and isinstance(data, int) and socket.inq:
            return data
    raise call.refuse("msg_control")
