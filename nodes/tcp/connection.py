"""The user's calls on a connection (RFC 9293 sections 3.9.1 and 3.10), as BSD sockets give them to programs."""

from __future__ import annotations

from typing import NoReturn

from nodes.base import causes
from nodes.base.errors import InvalidArgument, SocketError
from nodes.base.events import (
    CALL_ABORT,
    CALL_CLOSE,
    CALL_RECEIVE,
    CALL_SEND,
    CALL_SET_OPTION,
    CALL_SHUTDOWN,
    CALL_STATUS,
)
from nodes.tcp import (
    acking,
    chronograph,
    closing,
    congestion_control,
    fastopen,
    info,
    keepalive,
    notsent,
    receiver,
    sender,
    states,
    urgent,
)
from nodes.tcp.info import TcpInfo
from nodes.tcp.options import Options
from nodes.tcp.tcb import MAX_WINDOW, Tcb, change_state

_SENDING = (states.SYN_SENT, states.SYN_RECEIVED, states.ESTABLISHED, states.CLOSE_WAIT)


class Connection(Tcb):
    """One connection. Made by `Tcp.open` and `Listener.accept`; every call returns at once.

    A failed connection tells its error to the next `send` or `receive`, once; from then on `send` says EPIPE and
    `receive` end of file, as on a socket. `error` keeps the errno name.
    """

    __slots__ = ()

    # readiness

    @property
    def readable(self) -> bool:
        """Whether `receive` would give data, end of file or an error."""
        if (
            self.buffered - urgent.hidden(self) >= self.options.rcvlowat
            or self.fin_received
            or self.state == states.CLOSED
        ):
            return True
        # A window that is closed brings no more: SO_RCVLOWAT cannot be waited for.
        return self.buffered > 0 and self.rcv_wnd <= self.rcv_mss

    @property
    def writable(self) -> bool:
        """Whether `send` would take data (a third of the buffer is free, as on Linux) or say an error."""
        state = self.state
        if state == states.ESTABLISHED or state == states.CLOSE_WAIT:
            return self.fin_queued or (self._send_used() * 3 <= self.options.sndbuf * 2 and notsent.few(self))
        return not self.opening

    @property
    def eof(self) -> bool:
        """Whether everything the peer has sent was read and its FIN (or the end of the connection) has come."""
        return self.buffered == 0 and (self.fin_received or self.state == states.CLOSED) and not self.error_pending

    @property
    def send_room(self) -> int:
        """Bytes the send buffer still takes; less than 0 when it was made smaller."""
        return self.options.sndbuf - self._send_used()

    def _send_used(self) -> int:
        return self.snd_queue.length + self.snd_nxt - self.snd_una

    # calls

    def send(self, now: int, data: bytes, more: bool = False, end: bool = False, urgently: bool = False) -> int:
        """SEND (3.10.2): queue `data`; returns how many bytes were taken, 0 when the buffer is full.

        `more` (MSG_MORE of send(2)): the next `send` continues this one, so no small segment goes for its sake.
        `end` (MSG_EOR): `data` ends a record; nothing that is sent later comes into a segment with it.
        `urgently` (MSG_OOB): the last byte taken is urgent (urgent.py).
        In SYN-SENT and SYN-RECEIVED data waits for the handshake. Raises SocketError EBADF after `close`, EPIPE after
        `shutdown` or when the connection is gone, or once the error it failed with.
        """
        if self.user_closed or self.fin_queued or self.close_on_established or self.state not in _SENDING:
            self._refuse_send(now)
        if self.fast is not None and self.fast.deferred:
            size = fastopen.send_syn(self, now, data)
            self.tcp.sink.call(now, self.tcp.node, self.number, CALL_SEND, size)
            return size
        free = self.send_room
        size = len(data)
        if size > free:
            # What is cut off here follows: nothing ends, nor waits for it.
            more = end = False
            size = max(free, 0)
            data = data[:size]
        limit = notsent.limit(self)
        if limit == notsent.NO_LIMIT:
            self.tcp.sink.call(now, self.tcp.node, self.number, CALL_SEND, size)
            if size:
                self._queue(now, data, more, end, urgently)
        else:
            size = self._send_under(now, data, limit, more, end, urgently)
            self.tcp.sink.call(now, self.tcp.node, self.number, CALL_SEND, size)
        self.blocked = not self.writable
        if self.blocked:
            chronograph.look(self, now)
        return size

    def _send_under(self, now: int, data: bytes, limit: int, more: bool, end: bool, urgently: bool) -> int:
        """Queue `data` while less than `limit` is not sent; returns how much."""
        size = 0
        while size < len(data):
            room = notsent.room(self, limit)
            if room == 0:
                break
            piece = data[size : size + room]
            size += len(piece)
            whole = size == len(data)
            self._queue(now, piece, more or not whole, end and whole, urgently)
        if 0 < size < len(data):
            self.snd_queue.push()
        return size

    def _queue(self, now: int, data: bytes, more: bool, end: bool, urgently: bool) -> None:
        sender.look_app_limited(self)
        self.snd_queue.append(bytes(data), more, end)
        if urgently:
            urgent.sent(self, now, len(data))
        if self.synchronized or self.early:
            if more:
                sender.output_as(self, now, 1)
            else:
                sender.output(self, now, False)

    def receive(self, now: int, limit: int) -> bytes:
        """RECEIVE (3.10.3): up to `limit` bytes; b"" when there are none yet, or (`eof`) never will be.

        Raises SocketError EBADF after `close`, or once the error the connection failed with.
        """
        if limit <= 0:
            raise InvalidArgument(f"limit: {limit} is not allowed; a number of bytes from 1 is", "limit")
        if self.user_closed:
            self._illegal(now, CALL_RECEIVE, "EBADF", causes.ERROR_CLOSING)
        data = receiver.take(self, limit)
        if data:
            self.tcp.sink.call(now, self.tcp.node, self.number, CALL_RECEIVE, len(data))
            receiver.text_read(self, now)
        elif self.error_pending:
            self._raise_pending()
        return data

    def peek(self, now: int, limit: int) -> bytes:
        """What `receive` would return or raise, which then still will."""
        if self.user_closed:
            self._illegal(now, CALL_RECEIVE, "EBADF", causes.ERROR_CLOSING)
        if not self.rcv_queue and self.error_pending:
            raise SocketError(self.error, self._error_words())
        return receiver.look(self, limit)

    def receive_urgent(self, now: int, peek: bool = False) -> bytes:
        """The urgent byte, apart from the stream (MSG_OOB); b"" when the peer's FIN came before it.

        Raises SocketError EINVAL: there is none, it was received, or SO_OOBINLINE leaves it in the stream; EAGAIN: it
        has not come yet; EBADF after `close`.
        """
        if self.user_closed:
            self._illegal(now, CALL_RECEIVE, "EBADF", causes.ERROR_CLOSING)
        data = urgent.receive(self, peek)
        self.tcp.sink.call(now, self.tcp.node, self.number, CALL_RECEIVE, len(data))
        return data

    @property
    def unread(self) -> int:
        """Bytes that `receive` may give before it stops at urgent data: SIOCINQ."""
        known = self.urgent
        if known is None or self.options.oobinline:
            return self.buffered
        return min(self.buffered, known.seq - urgent.read_seq(self)) or self.buffered - urgent.hidden(self)

    @property
    def at_mark(self) -> bool:
        """Whether the next byte to read is where the last urgent data was: SIOCATMARK."""
        return urgent.at_mark(self)

    @property
    def urgent_pending(self) -> bool:
        """Whether `receive_urgent` would give something: POLLPRI."""
        return urgent.pending(self)

    def take_error(self) -> str:
        """The errno name the connection failed with ("": none), which no other call is told any more: SO_ERROR."""
        pending, self.error_pending = self.error_pending, False
        return self.error if pending else ""

    def shutdown(self, now: int) -> None:
        """CLOSE of the sending side only (3.6): all queued data, then FIN; receiving goes on.

        Raises SocketError ENOTCONN when there is no connection. Shutting down again does nothing.
        """
        self.tcp.sink.call(now, self.tcp.node, self.number, CALL_SHUTDOWN, 0)
        if self.user_closed:
            self._illegal(now, CALL_SHUTDOWN, "EBADF", causes.ERROR_CLOSING)
        if self.state == states.CLOSED:
            self._illegal(now, CALL_SHUTDOWN, "ENOTCONN", causes.ERROR_DOES_NOT_EXIST)
        if not self.fin_queued:
            self._close_sending(now, causes.USER_SHUTDOWN)
        self.tcp.notify(self)

    def close(self, now: int, unread: bool = False) -> None:
        """CLOSE (3.10.4): the user lets go. Queued data and FIN still go out; the state changes now.

        Unread data (`unread`: the user says there is some), or SO_LINGER with time 0, makes it a reset (3.6.1). Raises
        SocketError EBADF the second time.
        """
        tcp = self.tcp
        tcp.sink.call(now, tcp.node, self.number, CALL_CLOSE, 0)
        if self.user_closed:
            words = causes.ERROR_DOES_NOT_EXIST if self.state == states.CLOSED else causes.ERROR_CLOSING
            self._illegal(now, CALL_CLOSE, "EBADF", words)
        self.user_closed = True
        self.error_pending = False
        unread = unread or self.buffered > 0
        self.rcv_queue.clear()
        self.buffered = 0
        state = self.state
        if state == states.CLOSED:
            pass
        elif (self.synchronized or self.early) and state != states.TIME_WAIT and unread:
            tcp.counters.TcpExtTCPAbortOnClose += 1
            closing.reset(self, now, causes.UNREAD_DATA_AT_CLOSE)
        elif (self.synchronized or self.early) and state != states.TIME_WAIT and self.options.linger == 0:
            tcp.counters.TcpExtTCPAbortOnData += 1
            closing.reset(self, now, causes.LINGER_ABORT)
        elif not self.fin_queued:
            self._close_sending(now, causes.USER_CLOSE)
        else:
            closing.start_fin_wait_2(self, now)
        closing.orphan(self, now)
        tcp.notify(self)

    def _close_sending(self, now: int, cause: int) -> None:
        state = self.state
        if state == states.SYN_SENT:
            change_state(self, now, states.CLOSED, cause)
        elif state == states.SYN_RECEIVED and self.snd_queue.length and not self.early:
            # 3.10.4: queue it until the connection is established.
            self.close_on_established = cause
        elif state in _SENDING:
            closing.queue_fin(self, now, cause)

    def abort(self, now: int) -> None:
        """ABORT (3.10.5): RST to the peer; what is queued is lost. Raises SocketError when there is no connection."""
        tcp = self.tcp
        tcp.sink.call(now, tcp.node, self.number, CALL_ABORT, 0)
        if self.state == states.CLOSED:
            errno_name = "EBADF" if self.user_closed else "ENOTCONN"
            self._illegal(now, CALL_ABORT, errno_name, causes.ERROR_DOES_NOT_EXIST)
        if self.synchronized and self.state != states.TIME_WAIT:
            tcp.counters.TcpExtTCPAbortOnData += 1
        self.user_closed = True
        self.rcv_queue.clear()
        self.buffered = 0
        closing.reset(self, now, causes.USER_ABORT)
        tcp.notify(self)

    def status(self, now: int) -> TcpInfo:
        """STATUS (3.10.6). Also for a connection that has ended."""
        self.tcp.sink.call(now, self.tcp.node, self.number, CALL_STATUS, 0)
        return info.info(self, now)

    def set_option(self, now: int, name: str, value: object) -> None:
        """Set one option of `nodes.tcp.options.RANGES` or TCP_CONGESTION. Raises InvalidArgument, SocketError EBADF
        after `close`."""
        if self.user_closed:
            self._illegal(now, CALL_SET_OPTION, "EBADF", causes.ERROR_CLOSING)
        if name == "TCP_MAXSEG" and self.state != states.CLOSED:
            # It was announced in the SYN: as on Linux, what is set now changes nothing.
            Options(self.tcp.parameters).set(self.tcp.parameters, name, value)
            return
        self.options.set(self.tcp.parameters, name, value)
        self.tcp.sink.call(now, self.tcp.node, self.number, CALL_SET_OPTION, 0)
        if self.state == states.CLOSED:
            return
        if name == "SO_KEEPALIVE" or name == "TCP_KEEPIDLE":
            keepalive.start(self, now)
        elif name == "TCP_NODELAY" and self.options.nodelay:
            sender.output_as(self, now, 0)
        elif name == "TCP_CORK" and not self.options.cork:
            sender.output(self, now, False)
        elif name == "TCP_QUICKACK":
            acking.set_quick_ack(self, now, self.options.quickack)
        elif name == "TCP_WINDOW_CLAMP":
            self.window_clamp = self.options.window_clamp or MAX_WINDOW
            receiver.update_window(self, now)
        elif name == "SO_RCVLOWAT":
            receiver.want_at_least(self, now)
        elif name == "TCP_CONGESTION" and self.synchronized:
            congestion_control.replace(self, now)
        elif name == "SO_RCVBUF":
            receiver.update_window(self, now)
        elif name == "TCP_USER_TIMEOUT":
            sender.change_user_timeout(self, now)

    def get_option(self, name: str) -> int | str:
        """One option's value. Raises InvalidArgument."""
        if name == "TCP_QUICKACK":
            return int(not acking.ping_pong(self))
        if name == "TCP_MAXSEG" and self.synchronized:
            return self.mss
        return self.options.get(name)

    # errors

    def _refuse_send(self, now: int) -> NoReturn:
        if self.user_closed:
            self._illegal(now, CALL_SEND, "EBADF", causes.ERROR_CLOSING)
        if self.error_pending:
            self._raise_pending()
        words = causes.ERROR_DOES_NOT_EXIST if self.state == states.CLOSED else causes.ERROR_CLOSING
        self._illegal(now, CALL_SEND, "EPIPE", words)

    def _raise_pending(self) -> NoReturn:
        """Tell an outstanding call how the connection ended (3.10.7.4): no fault of the call's, so no illegal event."""
        self.error_pending = False
        raise SocketError(self.error, self._error_words())

    def _error_words(self) -> str:
        words = causes.CAUSES[self.error_cause].words
        failure = self.congestion.failure()
        return f"{words}: {failure}" if failure else words

    def _illegal(self, now: int, call: int, errno_name: str, words: int) -> NoReturn:
        tcp = self.tcp
        tcp.sink.illegal(now, tcp.node, self.number, words, self.state, call)
        raise SocketError(errno_name, causes.CAUSES[words].words)
