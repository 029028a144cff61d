"""How connections of programs on nodes with our TCP fail and end, as the programs are told of it."""

from __future__ import annotations

import pytest

from tests.netns.programs import (
    LISTEN_ONCE,
    OURS_AND_LINUX,
    Programs,
    agents_descriptors,
)

pytestmark = pytest.mark.requires("root")

TEXT = OURS_AND_LINUX


def test_errors_are_those_of_sockets(programs: Programs) -> None:
    text = """
import errno, select, socket
def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)
def tcp():
    return socket.socket()
print(errno_of(tcp().connect, ("h1", 9)))
print(errno_of(tcp().connect, ("10.0.0.99", 9)))
print(errno_of(tcp().connect, ("192.0.2.1", 9)))
print(errno_of(tcp().send, b"x"), errno_of(tcp().recv, 1), errno_of(tcp().getpeername), errno_of(tcp().accept))
print(errno_of(tcp().bind, ("10.0.0.1", 80)))
first = tcp()
first.bind(("", 80))
print(errno_of(tcp().bind, ("", 80)), first.getsockname())
one = tcp()
one.setblocking(False)
print(errno.errorcode[one.connect_ex(("h1", 9))])
print(select.select([], [one], [])[1] == [one], errno.errorcode[one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
late = tcp()
late.settimeout(0.1)
try:
    late.connect(("10.0.0.98", 9))
except TimeoutError as error:
    print("timed out:", error)
six = socket.socket(socket.AF_INET6)
print(errno_of(six.connect, ("fd00::9", 9)), errno_of(socket.socket, socket.AF_INET, socket.SOCK_RAW))
try:
    socket.create_connection(("h3", 80))
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME, "h1, h2, l1" in str(error))
print(socket.gethostname(), socket.getfqdn("10.0.0.1"), socket.gethostbyname("l1"))
print(*socket.getaddrinfo("l1", "http")[0][4])
md5_signatures = 14  # of tcp(7)
print(errno_of(tcp().setsockopt, socket.IPPROTO_TCP, md5_signatures, 1))
"""
    assert programs.python("h2", text).ok().splitlines() == [
        "ECONNREFUSED",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EPIPE ENOTCONN ENOTCONN EINVAL",
        "EADDRNOTAVAIL",
        "EADDRINUSE ('0.0.0.0', 80)",
        "EINPROGRESS",
        "True ECONNREFUSED",
        "timed out: timed out",
        "ENETUNREACH EPROTONOSUPPORT",
        "True True",
        "h2 h1 10.0.0.3",
        "10.0.0.3 80",
        "ENOPROTOOPT",
    ]


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("l1", "h2")])
def test_a_reset_is_told_once(programs: Programs, server: str, client: str) -> None:
    reset = LISTEN_ONCE + (
        "    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
        "    one.recv(4)\n"
        "    one.close()\n"
    )
    programs.python(server, reset).until("listens")
    ask = """
import socket, sys
one = socket.create_connection((sys.argv[1], 7))
one.sendall(b"data")
for call in (one.recv, one.recv):
    try:
        print(call(1))
    except OSError as error:
        print(type(error).__name__)
try:
    one.send(b"more")
except OSError as error:
    print(type(error).__name__)
"""
    assert programs.python(client, ask, server).ok().split() == ["ConnectionResetError", "b''", "BrokenPipeError"]


def test_a_close_with_unread_data_is_a_reset_and_another_is_not(programs: Programs) -> None:
    ask = """
import socket
one = socket.create_connection(("h1", 7))
one.sendall(b"data")
try:
    print(one.recv(10))
except OSError as error:
    print(type(error).__name__)
"""
    # It is in the program's descriptor, and not read from there.
    unread = "    one.recv(4, socket.MSG_PEEK)\n    one.close()\n"
    programs.python("h1", LISTEN_ONCE + unread).until("listens")
    assert programs.python("l1", ask).ok() == "ConnectionResetError\n"
    programs.python("h1", LISTEN_ONCE + "    one.recv(4)\n    one.close()\n").until("listens")
    assert programs.python("l1", ask).ok() == "b''\n"


def test_a_program_that_is_killed_leaves_what_a_kernel_would_leave(programs: Programs) -> None:
    lab = programs.lab
    before = agents_descriptors(lab, "h1")
    # In the middle of receiving, with something unread: RST, as the kernel's.
    victim = programs.python(
        "h1",
        LISTEN_ONCE
        + "    one.recv(100_000, socket.MSG_WAITALL)\n    one.recv(1, socket.MSG_PEEK)\n    print('unread')\n"
        "    sys.stdin.read()\n",
    )
    victim.until("listens")
    ask = """
import socket
one = socket.create_connection(("h1", 7))
try:
    while True:
        one.sendall(bytes(65536))
        print("sent")
except OSError as error:
    print(type(error).__name__)
"""
    sender = programs.python("l1", ask)
    victim.until("unread")
    victim.signal("KILL")
    assert victim.wait().code == 137
    assert sender.ok().split()[-1] == "ConnectionResetError"
    # All that it had written, and then FIN.
    victim = programs.python(
        "h1", LISTEN_ONCE + "    one.sendall(bytes(100_000))\n    print('written')\n    sys.stdin.read()\n"
    )
    victim.until("listens")
    receiver = programs.python(
        "l1",
        "import socket, sys; s = socket.create_connection(('h1', 7)); print('connected'); sys.stdin.read(1)\n"
        "print(len(s.makefile('rb').read()))",
    )
    victim.until("written")
    victim.signal("KILL")
    victim.wait()
    receiver.write(b"\n")
    assert receiver.ok().split() == ["connected", "100000"]
    # A listener that is killed is gone.
    victim = programs.python("h1", LISTEN_ONCE)
    victim.until("listens")
    victim.signal("KILL")
    victim.wait()
    assert programs.python("l1", "import socket; print(socket.socket().connect_ex(('h1', 7)))").ok() == "111\n"
    assert programs.start("h1", "ss", "-tlnH").ok() == ""
    programs.end()
    assert agents_descriptors(lab, "h1") == before
