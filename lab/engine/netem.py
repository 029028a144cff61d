"""The kernel's netem on the engine's interfaces, by netlink.

Each change sends every field there is: what is not sent, sch_netem.c keeps (corruption, reordering, rate) or resets
(delay, loss), and nobody remembers which. Sources: include/uapi/linux/pkt_sched.h, rtnetlink(7).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any, Final

from pyroute2 import IPRoute

from lab.links.impairments import NO_IMPAIRMENTS
from lab.links.netem import NetemOptions, netem_options
from nodes.base.errors import FailedPrecondition, Unsupported

_RTM_NEWQDISC: Final = 36
_REQUEST_ACK_CREATE_REPLACE: Final = 0x1 | 0x4 | 0x400 | 0x100
_NLMSG_ERROR: Final = 2
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_TCMSG: Final = struct.Struct("=BBHiIII")  # family, two pads, interface, handle, parent, info
_QOPT: Final = struct.Struct("=IIIIII")  # latency, limit, loss, gap, duplicate, jitter
_ROOT: Final = 0xFFFFFFFF
_HANDLE: Final = 1 << 16
_TCA_KIND: Final = 1
_TCA_OPTIONS: Final = 2
_CORR: Final = 1
_REORDER: Final = 3
_CORRUPT: Final = 4
_LOSS: Final = 5
_RATE: Final = 6
_RATE64: Final = 8
_LATENCY64: Final = 10
_JITTER64: Final = 11
_SEED: Final = 14
_LOSS_GE: Final = 2
_NESTED: Final = 0x8000
_U32: Final = (1 << 32) - 1
#: Nanoseconds of a tick of the scheduler, as a power of two.
_TICK_SHIFT: Final = 6


def netem_request(index: int, options: NetemOptions, seed: int) -> bytes:
    """The netlink message that gives interface number `index` exactly these options; `seed` is of the kernel's chances
    (Linux 6.6 and later; earlier ones choose their own)."""
    qopt = _QOPT.pack(
        min(options.delay_ns >> _TICK_SHIFT, _U32),
        options.limit,
        options.loss,
        options.gap,
        options.duplicate,
        min(options.jitter_ns >> _TICK_SHIFT, _U32),
    )
    attributes = [
        _attribute(_CORR, struct.pack("=III", 0, 0, 0)),
        _attribute(_REORDER, struct.pack("=II", options.reorder, 0)),
        _attribute(_CORRUPT, struct.pack("=II", options.corrupt, 0)),
        _attribute(_RATE, struct.pack("=IiIi", min(options.rate, _U32), 0, 0, 0)),
        _attribute(_RATE64, struct.pack("=Q", options.rate)),
        _attribute(_LATENCY64, struct.pack("=q", options.delay_ns)),
        _attribute(_JITTER64, struct.pack("=q", options.jitter_ns)),
        _attribute(_SEED, struct.pack("=Q", seed)),
    ]
    if options.gemodel:  # without it the kernel goes back to chance
        attributes.append(_attribute(_LOSS | _NESTED, _attribute(_LOSS_GE, struct.pack("=IIII", *options.gemodel))))
    body = (
        _TCMSG.pack(socket.AF_UNSPEC, 0, 0, index, _HANDLE, _ROOT, 0)
        + _attribute(_TCA_KIND, b"netem\0")
        + _attribute(_TCA_OPTIONS, qopt + b"".join(attributes))
    )
    return _HEADER.pack(_HEADER.size + len(body), _RTM_NEWQDISC, _REQUEST_ACK_CREATE_REPLACE, 1, 0) + body


def _attribute(kind: int, data: bytes) -> bytes:
    """A netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


class Netem:
    """netem on interfaces of the calling thread's network namespace."""

    def set(self, device: str, options: NetemOptions, seed: int) -> None:
        """Give an interface exactly these options. What waits in its queue stays.

        Raises Unsupported on a kernel without netem, FailedPrecondition for what else the kernel says.
        """
        request = netem_request(socket.if_nametoindex(device), options, seed)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
            netlink.send(request)
            answer = netlink.recv(65536)
        kind = _HEADER.unpack_from(answer)[1]
        code = -struct.unpack_from("=i", answer, _HEADER.size)[0] if kind == _NLMSG_ERROR else 0
        if code in (errno.ENOENT, errno.EOPNOTSUPP):
            raise Unsupported(NO_NETEM)
        if code:
            raise FailedPrecondition(f"the kernel refuses netem on {device}: {os.strerror(code)}")

    def statistics(self, device: str) -> dict[str, int]:
        """What the interface's netem has sent, dropped (by chance or for its limit) and holds."""
        with IPRoute() as netlink:
            for qdisc in netlink.get_qdiscs(socket.if_nametoindex(device)):
                if qdisc.get_attr("TCA_KIND") == "netem":
                    stats: Any = qdisc.get_attr("TCA_STATS")
                    return {
                        "packets_delivered": stats["packets"],
                        "bytes_delivered": stats["bytes"],
                        "dropped_loss": stats["drop"],
                        "queue_packets": stats["qlen"],
                        "queue_bytes": stats["backlog"],
                    }
        return {}


#: Why `engine: netem` is refused, and what to do.
NO_NETEM: Final = (
    "this kernel has no netem (sch_netem; CONFIG_NET_SCH_NETEM, or the package with the extra modules of the kernel); "
    "the link engine does all that netem does: engine: link, or auto"
)


def netem_missing() -> str:
    """Why the kernel's netem cannot be used, or "". To be asked in a network namespace of our own: its loopback
    interface gets one for a moment."""
    try:
        Netem().set("lo", netem_options(NO_IMPAIRMENTS), 1)
    except (Unsupported, FailedPrecondition) as error:
        return str(error)
    with IPRoute() as netlink:
        netlink.tc("del", index=socket.if_nametoindex("lo"), root=True)
    return ""
