"""A socket's error queue: what recvmsg tells by MSG_ERRQUEUE of sends with MSG_ZEROCOPY and of SO_TIMESTAMPING."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from lab.packetdrill.arguments import Arguments, CallFailed
from lab.packetdrill.problem import Mismatch
from lab.packetdrill.script import Array, Expression, Name, Struct
from nodes.base.clock import SECOND
from nodes.tcp.connection import Connection

#: Flags of SO_TIMESTAMPING, and what each has told of; the last two say how.
SCHEDULED: Final = "SOF_TIMESTAMPING_TX_SCHED"
SENT: Final = "SOF_TIMESTAMPING_TX_SOFTWARE"
ACKNOWLEDGED: Final = "SOF_TIMESTAMPING_TX_ACK"
_TOLD: Final = {SCHEDULED: "SCM_TSTAMP_SCHED", SENT: "SCM_TSTAMP_SND", ACKNOWLEDGED: "SCM_TSTAMP_ACK"}
_HOW: Final = frozenset(("SOF_TIMESTAMPING_SOFTWARE", "SOF_TIMESTAMPING_OPT_ID"))


@dataclass(slots=True)
class Notice:
    """One entry of the queue, by the names of Linux's sock_extended_err; `time` is that of a timestamp, ns, or -1."""

    errno: Expression
    origin: str
    code: Expression
    info: Expression
    data: int
    time: int = -1


@dataclass(slots=True)
class _Last:
    """The last byte of a send, before the sequence number `end`; `wanted` is what is still to be told of it."""

    end: int
    key: int
    wanted: list[str]


class ErrorQueue:
    """`notices` wait to be read; `told` counts how often something was put there."""

    def __init__(self) -> None:
        self.notices: deque[Notice] = deque()
        self.told = 0
        self._copies: deque[tuple[int, int]] = deque()
        self._copied = 0
        self._lasts: list[_Last] = []
        self._stamps: list[str] = []
        self._first = 0

    def stamp(self, call: Arguments, connection: Connection) -> None:
        """setsockopt SO_TIMESTAMPING: sends from now on are told of, by the place of their last byte."""
        value = call.at(3)
        if not isinstance(value, Array) or len(value.items) != 1:
            raise call.refuse("SO_TIMESTAMPING: its value")
        names = call.names_of(value.items[0])
        if not _HOW <= names <= _HOW | set(_TOLD):
            raise call.refuse(f"SO_TIMESTAMPING {'|'.join(sorted(names))}")
        self._stamps = [name for name in _TOLD if name in names]
        self._first = connection.snd_una

    def sent(self, connection: Connection, zero_copy: bool) -> None:
        """The user's send has returned; all that it could be told of is queued."""
        end = connection.snd_nxt + connection.snd_queue.length
        if zero_copy:
            self._copies.append((end, self._copied))
            self._copied += 1
        if self._stamps:
            self._lasts.append(_Last(end, end - 1 - self._first, list(self._stamps)))

    def look(self, now: int, connection: Connection) -> None:
        """What has been sent or acknowledged is told of."""
        while self._copies and self._copies[0][0] <= connection.snd_una:
            _, number = self._copies.popleft()
            self.told += 1
            last = self.notices[-1] if self.notices else None
            if last is not None and last.time < 0 and last.data == number - 1:
                last.data = number
            else:
                copied = Name("SO_EE_CODE_ZEROCOPY_COPIED")
                self.notices.append(Notice(0, "SO_EE_ORIGIN_ZEROCOPY", copied, number, number))
        for one in self._lasts:
            while one.wanted:
                edge = connection.snd_una if one.wanted[0] == ACKNOWLEDGED else connection.snd_nxt
                if edge < one.end:
                    break
                self.told += 1
                info = Name(_TOLD[one.wanted.pop(0)])
                self.notices.append(Notice(Name("ENOMSG"), "SO_EE_ORIGIN_TIMESTAMPING", 0, info, one.key, now))
        self._lasts = [one for one in self._lasts if one.wanted]

    def read(self, call: Arguments, tolerance: int) -> int:
        """recvmsg(fd, {..., msg_flags=..., msg_control=[...]}, MSG_ERRQUEUE). Raises CallFailed EAGAIN, or Mismatch
        when what is told is not as the script has it."""
        if not self.notices:
            raise CallFailed("EAGAIN")
        notice = self.notices.popleft()
        message = call.struct(1)
        control = message.get("msg_control")
        if not isinstance(control, Array):
            raise call.refuse("msg_control")
        # The packet that comes with a timestamp does not fit into nothing.
        flags = {"MSG_ERRQUEUE"} | ({"MSG_TRUNC"} if notice.time >= 0 else set())
        if (expected := call.names_of(message.get("msg_flags") or 0)) != flags:
            raise Mismatch(call.line, f"recvmsg gives msg_flags {'|'.join(sorted(flags))} instead of {expected}")
        told: dict[str, Expression] = {
            "ee_errno": notice.errno,
            "ee_origin": Name(notice.origin),
            "ee_type": 0,
            "ee_code": notice.code,
            "ee_info": notice.info,
            "ee_data": notice.data,
        }
        left = {"SCM_TIMESTAMPING", "IP_RECVERR"} if notice.time >= 0 else {"IP_RECVERR"}
        for item in control.items:
            data = item.get("cmsg_data") if isinstance(item, Struct) else None
            kind = item.get("cmsg_type") if isinstance(item, Struct) else None
            if not isinstance(data, Struct) or not isinstance(kind, Name) or kind.text not in left:
                raise call.refuse("msg_control")
            left.remove(kind.text)
            if kind.text == "IP_RECVERR":
                _compare(call, told, data)
            else:
                stamp = call.number_of(data.get("scm_sec") or 0) * SECOND + call.number_of(data.get("scm_nsec") or 0)
                if abs(stamp - notice.time) > tolerance:
                    raise Mismatch(call.line, f"recvmsg gives a timestamp of {notice.time} ns instead of {stamp}")
        if left:
            raise Mismatch(call.line, f"recvmsg also gives {' '.join(sorted(left))}")
        return 0


def _compare(call: Arguments, told: dict[str, Expression], expected: Struct) -> None:
    for name, value in expected.members:
        if name not in told:
            raise call.refuse(name)
        if told[name] != value:
            raise Mismatch(call.line, f"recvmsg gives {name} {_words(told[name])} instead of {_words(value)}")


def _words(value: Expression) -> str:
    return value.text if isinstance(value, Name) else str(value)
