"""The line of one program that uses a node's stack, and what is closed with it."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from select import EPOLLIN
from typing import Any, Final

import msgpack

from nodes.agent.descriptors import Descriptors
from nodes.agent.line import Message, pack
from nodes.agent.plain import plain, plain_error
from nodes.agent.stack_host import StackHost
from nodes.base.errors import InvalidArgument, NotFound, SocketError
from nodes.base.tasks import Task, TaskRunner
from nodes.ip.ping import Ping, PingAnswer
from nodes.packet.address import address_text
from nodes.sockets.gate import Gate

#: The most one message of a program may hold.
_MAX_MESSAGE: Final = 1 << 20
_CHUNK: Final = 1 << 16
#: struct ucred: pid, uid, gid.
_PEER: Final = struct.Struct("=iII")
#: Descriptors that come are not left to programs that we start.
_RECEIVE: Final = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC


class Echoes:
    """Echo requests to one address."""

    def __init__(self, host: StackHost, runner: TaskRunner, address: bytes) -> None:
        self._host = host
        self._gate = Gate(runner)
        self._answers: dict[int, PingAnswer] = {}
        self.ping: Ping = host.stack.icmp.pings.open(address, self._on_answer)

    def _on_answer(self, answer: PingAnswer) -> None:
        self._answers.setdefault(answer.sequence, answer)
        self._gate.notify()

    def send(self, sequence: int, size: int, ttl: int, timeout_ns: int) -> Coroutine[Any, Any, list[Any] | None]:
        if not (0 <= sequence < 1 << 16 and 0 <= size <= 65507 and 0 <= ttl <= 255 and timeout_ns >= 0):
            raise InvalidArgument("an echo request has 0 to 65507 bytes, and a TTL of up to 255")
        self.ping.send(self._host.driver.now(), sequence, size, ttl)
        return self._answer(sequence, self._host.driver.deadline(timeout_ns))

    async def _answer(self, sequence: int, deadline: int) -> list[Any] | None:
        while sequence not in self._answers:
            try:
                await self._gate.wait("echo reply", deadline)
            except TimeoutError:
                return None
        answer = self._answers.pop(sequence)
        return [address_text(answer.address), answer.type, answer.code, answer.rtt_ns, answer.ttl, answer.size]

    def close(self) -> None:
        self.ping.close()


class DoorLine:
    """The line of one program. What it sends that is no call ends it."""

    def __init__(
        self,
        line: socket.socket,
        descriptors: Descriptors,
        call: Callable[[DoorLine, Message], None],
        on_end: Callable[[DoorLine], None],
    ) -> None:
        self._line = line
        #: The user of the program.
        self.uid = _PEER.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[1]
        self._descriptors = descriptors
        self._call = call
        self._on_end = on_end
        self._unpacker = msgpack.Unpacker(max_buffer_size=_MAX_MESSAGE)
        self._received: list[int] = []
        self._given: list[socket.socket] = []
        self._tasks: set[Task] = set()
        self._kept: list[Echoes] = []
        self._ended = False
        line.setblocking(False)
        descriptors.add(line.fileno(), EPOLLIN, self._on_events)

    def take_socket(self) -> socket.socket:
        """The one that came with the call. Raises InvalidArgument."""
        if not self._received:
            raise InvalidArgument("a descriptor must come along with the call")
        descriptor = self._received.pop(0)
        try:
            return socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            raise InvalidArgument("what came along with the call is no socket") from None

    def give_socket(self, one: socket.socket) -> None:
        """It goes along with the next answer."""
        self._given.append(one)

    def keep(self, one: Echoes) -> int:
        """Have it closed with the line; its number."""
        self._kept.append(one)
        return len(self._kept) - 1

    def kept(self, number: int) -> Echoes:
        """What has a number. Raises NotFound."""
        if not 0 <= number < len(self._kept):
            raise NotFound(f"there is no series {number} of echo requests")
        return self._kept[number]

    def _on_events(self, _: int) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._line, _CHUNK, 16, _RECEIVE)
            self._received += descriptors
            self._unpacker.feed(data)
            messages = list(self._unpacker) if data else None
            if messages is None:
                self.close()
                return
            for message in messages:
                if not self._ended:
                    self._on_message(message)
        except BlockingIOError:
            pass
        except (OSError, ValueError, TypeError, KeyError, msgpack.exceptions.UnpackException):
            self.close()

    def _on_message(self, message: Any) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("call"), str) or "id" not in message:
            raise ValueError("this is no call")
        self._call(self, message)

    def await_task(self, number: int, task: Task) -> None:
        """Answer with what a task comes to."""
        self._tasks.add(task)
        task.on_done(lambda task: self._on_task(number, task))

    def _on_task(self, number: int, task: Task) -> None:
        self._tasks.discard(task)
        if task.error is not None:
            self.answer_error(number, task.error)
        else:
            self.answer(number, task.result)

    def answer(self, number: int, value: Any) -> None:
        """Answer a call."""
        self._send({"id": number, "value": plain(value)})

    def answer_error(self, number: int, error: BaseException) -> None:
        """Answer a call with its error."""
        if isinstance(error, OSError) and error.errno and not isinstance(error, TimeoutError):
            error = SocketError(errno.errorcode.get(error.errno, "EIO"), str(error.strerror))
        self._send({"id": number, "error": plain_error(error)})

    def _send(self, message: Message) -> None:
        given, self._given = self._given, []
        try:
            if not self._ended:
                data = pack(message)
                # A program that does not read its answers has no use for them.
                if socket.send_fds(self._line, [data], [one.fileno() for one in given]) < len(data):
                    self.close()
        except OSError:
            self.close()
        finally:
            for one in given:
                one.close()

    def close(self) -> None:
        """Give up what it waits for. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._descriptors.remove(self._line.fileno())
        self._line.close()
        for descriptor in self._received:
            os.close(descriptor)
        for task in list(self._tasks):
            task.cancel()
        for one in self._kept:
            one.close()
        self._on_end(self)
