"""Sockets of programs, call by call: the same text runs on a node with our TCP and on one with the kernel's, and both
have to say the same."""

from __future__ import annotations

import pytest

from tests.netns.programs import Programs

pytestmark = pytest.mark.requires("root")

TEXT = "nodes: {h1: host, l1: linux, s1: switch}\nlinks: [h1-s1, l1-s1]\n"

#: What every text begins with. `E`: what a call returns, or the error it ends with.
PREAMBLE = """
import errno, os, select, socket, struct, subprocess, sys, threading, time
HERE = "127.0.0.1"
def E(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    except (TypeError, ValueError, OverflowError) as error:
        return str(error)
def pair():
    with socket.create_server((HERE, 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]
def wait(one, event=select.POLLIN):
    poll = select.poll()
    poll.register(one, event)
    poll.poll()
def taken(ones, count, take):
    came = [0] * len(ones)
    while sum(came) < count:
        for one in select.select(ones, [], [])[0]:
            take(one)
            came[ones.index(one)] += 1
    return came
def reset(one):
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
"""

#: What happens, by name, and what each line of it says.
TEXTS: dict[str, tuple[str, list[str]]] = {
    "connecting without waiting": (
        """
listener = socket.create_server((HERE, 0))
one = socket.socket()
one.setblocking(False)
print(E(one.connect, listener.getsockname()))
wait(one, select.POLLOUT)
print(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), one.getpeername() == listener.getsockname())
print(E(one.connect, listener.getsockname()), E(one.connect, listener.getsockname()))
""",
        ["EINPROGRESS", "0 True", "None EISCONN"],
    ),
    "refused without waiting": (
        """
listener = socket.create_server((HERE, 0))
def refused():
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((HERE, 9))
    wait(one, select.POLLOUT)
    return one
one = refused()
print(*(errno.errorcode.get(one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) for _ in range(2)))
print(E(one.recv, 1), E(one.send, b"x"), E(one.getpeername), E(one.connect, listener.getsockname()))
one = refused()
print(E(one.recv, 1), E(one.recv, 1))
one = refused()
print(E(one.connect, (HERE, 9)))
one = socket.socket()
one.settimeout(20)
print(E(one.connect, (HERE, 9)), E(one.connect, listener.getsockname()), E(one.connect, listener.getsockname()))
""",
        [
            "ECONNREFUSED None",
            "b'' EPIPE ENOTCONN ECONNABORTED",
            "ECONNREFUSED b''",
            "ECONNREFUSED",
            "ECONNREFUSED ECONNABORTED None",
        ],
    ),
    "another try keeps the socket's name and options": (
        """
listener = socket.create_server((HERE, 0))
one = socket.socket()
one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
one.bind((HERE, 6001))
one.setblocking(False)
one.connect_ex((HERE, 9))
wait(one, select.POLLOUT)
print(E(one.connect, listener.getsockname()))
one.setblocking(True)
print(E(one.connect, listener.getsockname()), one.getsockname(), one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
print(listener.accept()[1])
""",
        ["ECONNREFUSED", "None ('127.0.0.1', 6001) 1", "('127.0.0.1', 6001)"],
    ),
    "a connect that takes too long goes on": (
        """
listener = socket.create_server((HERE, 0), backlog=0)
first = socket.create_connection(listener.getsockname())  # no more are taken
one = socket.socket()
one.settimeout(0.05)
there = listener.getsockname()
print(E(one.connect, there), E(one.connect, there), select.select([], [one], [], 0)[1])
listener.accept()
one.settimeout(None)
print(E(one.send, b"x"), listener.accept()[0].recv(9))
""",
        ["timed out EALREADY []", "1 b'x'"],
    ),
    "ends": (
        """
one, other = pair()
one.shutdown(socket.SHUT_WR)
other.shutdown(socket.SHUT_WR)
print(one.recv(1), other.recv(1))
wait(one, 0)
print(E(one.shutdown, socket.SHUT_RDWR), E(one.shutdown, 9), E(socket.socket().shutdown, 9))
one, other = pair()
reset(one)
wait(other, 0)
print(E(other.getpeername), E(other.shutdown, socket.SHUT_WR), E(other.recv, 1), E(other.recv, 1), E(other.send, b"x"))
listener = socket.create_server((HERE, 0))
said = []
waiting = threading.Thread(target=lambda: said.append(E(listener.accept)))
waiting.start()
listener.shutdown(socket.SHUT_RDWR)
waiting.join()
print(said, listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), E(listener.accept))
""",
        ["b'' b''", "ENOTCONN EINVAL EINVAL", "ENOTCONN ENOTCONN ECONNRESET b'' EPIPE", "['EINVAL'] 0 EINVAL"],
    ),
    "what came before a reset is read, though nobody had looked whether there was a connection": (
        """
listener = socket.create_server((HERE, 0))
one = socket.socket()
one.setblocking(False)
one.connect_ex(listener.getsockname())
other = listener.accept()[0]
other.send(b"hello")
wait(one)
reset(other)
wait(one, 0)
print(E(one.recv, 9), E(one.recv, 9), E(one.recv, 9))
""",
        ["b'hello' ECONNRESET b''"],
    ),
    "descriptors are not inherited": (
        """
one, other = pair()
print(one.get_inheritable(), other.get_inheritable(), one.proto, other.proto, socket.socket().proto)
count = len(os.listdir("/proc/self/fd"))
child = "import os; print(len(os.listdir('/proc/self/fd')))"
inherited = subprocess.run([sys.executable, "-I", "-c", child], close_fds=False, capture_output=True, text=True)
print(int(inherited.stdout) - 1)
""",
        ["False False 6 0 0", "3"],
    ),
    "urgent data in what is marked": (
        """
for flags in (socket.MSG_MORE, socket.MSG_EOR):
    for sending in (socket.socket.send, socket.socket.sendall):
        one, other = pair()
        sending(one, b"ab!", socket.MSG_OOB | flags)
        one.send(b"cd")
        wait(other, select.POLLPRI)
        print(other.recv(2), other.recv(1, socket.MSG_OOB), other.recv(2, socket.MSG_WAITALL))
""",
        ["b'ab' b'!' b'cd'"] * 4,
    ),
    "what a socket prints": (
        """
one = socket.socket()
print(repr(one).replace(str(one.fileno()), "N", 1), type(one) is socket.socket)
one.bind((HERE, 7000))
print(str(one).partition("laddr=")[2])
one.close()
print(one)
""",
        [
            "<socket.socket fd=N, family=2, type=1, proto=0, laddr=('0.0.0.0', 0)> True",
            "('127.0.0.1', 7000)>",
            "<socket.socket [closed] fd=-1, family=2, type=1, proto=0>",
        ],
    ),
    "flags": (
        """
one, other = pair()
print(*(E(one.recv, 1, flag) for flag in (socket.MSG_ERRQUEUE, socket.MSG_DONTWAIT)))
print(E(other.recvfrom_into, bytearray(2), 3), E(other.recv_into, bytearray(2), 3))
one = socket.socket()
print(E(one.listen, "x"), E(one.bind, (HERE, 70000)), E(one.connect, HERE), sep=" / ")
""",
        [
            "EAGAIN EAGAIN",
            "nbytes is greater than the length of the buffer buffer too small for requested bytes",
            "'str' object cannot be interpreted as an integer / bind(): port must be 0-65535."
            " / connect(): AF_INET address must be tuple, not str",
        ],
    ),
    "options": (
        """
one = socket.socket()
TCP = socket.IPPROTO_TCP
connect, key, no_cookie = 30, 33, 34  # TCP_FASTOPEN_ of linux/tcp.h
changes = [(socket.TCP_NODELAY, 7), (socket.TCP_NODELAY, -1), (socket.TCP_NODELAY, b"\\1"), (connect, 1), (connect, 2)]
changes += [(no_cookie, 1), (socket.TCP_FASTOPEN, 5), (socket.TCP_LINGER2, 0)]
for name, value in changes:
    print(E(one.setsockopt, TCP, name, value), E(one.getsockopt, TCP, name), end="; ")
print(E(one.setsockopt, TCP, key, bytes(range(16))), one.getsockopt(TCP, key, 16).hex(), end="; ")
print(E(one.setsockopt, TCP, key, b"short"), E(one.setsockopt, TCP, socket.TCP_CONGESTION, b"nosuch"))
print(one.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
six = socket.socket(socket.AF_INET6)
for value in (0xBB, -1, 256, b"\\x2b"):
    for end, level, name in ((one, socket.IPPROTO_IP, socket.IP_TOS), (six, socket.IPPROTO_IPV6, socket.IPV6_TCLASS)):
        print(E(end.setsockopt, level, name, value), end.getsockopt(level, name), end="; ")
print()
""",
        [
            "None 1; None 1; EINVAL 1; None 1; EINVAL 1; None 1; None 5; None 60;"
            " None 000102030405060708090a0b0c0d0e0f; EINVAL ENOENT",
            "64",
            # ip(7), ipv6(7): a byte or an int, and ECN's bits stay TCP's; an int, -1 is the default.
            "None 184; None 184; None 252; None 0; None 0; EINVAL 0; None 40; EINVAL 0; ",
        ],
    ),
    "options of IPv6": (
        """
SIX = socket.IPPROTO_IPV6
names = [socket.IPV6_TCLASS, socket.IPV6_UNICAST_HOPS, socket.IPV6_V6ONLY, socket.IPV6_MULTICAST_HOPS]
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    four, six = (socket.socket(family, kind) for family in (socket.AF_INET, socket.AF_INET6))
    print({(E(four.setsockopt, SIX, name, 1), E(four.getsockopt, SIX, name)) for name in names})
    for name in names[:3]:
        for value in (-1, 1, 255, 256, b"\\1"):
            print(E(six.setsockopt, SIX, name, value), six.getsockopt(SIX, name), end="; ")
        print()
    for value in (-1, 0, 1, 255, b"\\1", b"\\0", -2):
        print(E(four.setsockopt, 0, socket.IP_TTL, value), four.getsockopt(0, socket.IP_TTL), end="; ")
    print(E(six.setsockopt, 0, socket.IP_TTL, 9))
""",
        [
            line
            for tclass in ("None 0; None 252; EINVAL 252; EINVAL 252; ", "None 1; None 255; EINVAL 255; EINVAL 255; ")
            for line in (
                "{('ENOPROTOOPT', 'ENOTSUP')}",
                "None 0; " + tclass,
                "None 64; None 1; None 255; EINVAL 255; EINVAL 255; ",
                "None 1; None 1; None 1; None 1; EINVAL 1; ",
                "None 64; EINVAL 64; None 1; None 255; None 1; EINVAL 1; EINVAL 1; None",
            )
        ],
    ),
    "what is written is sent with the options of its time": (
        """
listener = socket.create_server((HERE, 0))
said = []
while len(said) < 20:
    one = socket.create_connection(listener.getsockname())
    began = time.monotonic()
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    one.sendall(b"a" * 100)
    one.sendall(b"b" * 100)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    if time.monotonic() - began < 0.1:  # the cork holds for 200 ms at most
        said.append(int.from_bytes(info[156:160], "little"))  # tcpi_data_segs_out
print(set(said))
""",
        ["{1}"],
    ),
    "opening with data": (
        """
subprocess.run(["sysctl", "-w", "net.ipv4.tcp_fastopen=3"], check=True, capture_output=True)
listener = socket.create_server((HERE, 0))
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
there = listener.getsockname()
def came(one):
    other = listener.accept()[0]
    data = other.recv(8, socket.MSG_WAITALL)
    syn_data = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)[5] & 32
    return data, bool(syn_data), one.getpeername() == there
for waits in (True, False):
    for _ in range(2):
        one = socket.socket()
        one.setblocking(waits)
        print(E(one.sendto, b"question", socket.MSG_FASTOPEN, there), *came(one))
one = socket.socket()
print(one.sendmsg([b"quest", b"ion"], [], socket.MSG_FASTOPEN, there), *came(one))
print(E(one.sendto, b"x", socket.MSG_FASTOPEN, there), E(one.send, b"x", socket.MSG_FASTOPEN))
one = socket.socket()
print(E(one.send, b"x", socket.MSG_FASTOPEN), E(one.sendto, b"x", socket.MSG_FASTOPEN, (HERE, 9)))
one = socket.socket()
one.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
print(E(one.connect, there), one.send(b"question"), *came(one))
subprocess.run(["sysctl", "-w", "net.ipv4.tcp_fastopen=2"], check=True, capture_output=True)
print(E(socket.socket().sendto, b"x", socket.MSG_FASTOPEN, there))
subprocess.run(["sysctl", "-w", "net.ipv4.tcp_fastopen=1"], check=True, capture_output=True)
""",
        [
            "8 b'question' False True",
            *["8 b'question' True True"] * 4,
            "EISCONN EISCONN",
            "EINVAL ECONNREFUSED",
            "None 8 b'question' True True",
            "ENOTSUP",
        ],
    ),
    "the rate that pacing would have": (
        """
one, other = pair()
print(struct.unpack_from("Q", one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232), 104)[0] < 1 << 63)
rtt = 0
while rtt < 10:  # us
    one.sendall(bytes(1000))
    other.recv(1000, socket.MSG_WAITALL)
    other.sendall(bytes(1000))
    one.recv(1000, socket.MSG_WAITALL)
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    mss, rtt, cwnd = (struct.unpack_from("I", info, at)[0] for at in (16, 68, 80))
rate = struct.unpack_from("Q", info, 104)[0]
print(1 / 4 < rate * rtt / (2 * cwnd * mss * 1_000_000) < 4)  # Linux has it of an earlier ACK
""",
        ["True", "True"],
    ),
    "datagrams": (
        """
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((HERE, 0))
two = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def put(data=b"hello"):
    two.sendto(data, one.getsockname())
    wait(one)
put()
print(one.recv(0), one.recv(3, socket.MSG_PEEK), one.recv(3), E(one.recv, 1, socket.MSG_DONTWAIT))
put()
print(one.recvmsg(3)[0::2][:2] == (b"hel", socket.MSG_TRUNC))
put()
buffer = bytearray(9)
print(one.recv_into(buffer, 3, socket.MSG_TRUNC), buffer)
put(b"")
print(one.recvmsg(3)[0::2], E(one.recv, 1, socket.MSG_ERRQUEUE), E(one.accept), E(two.sendto, b"x", (HERE, 0)))
two.connect((HERE, 9))
for call in (lambda: two.send(b"again"), lambda: errno.errorcode[two.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]):
    two.send(b"x")
    wait(two, select.POLLIN | select.POLLERR)
    print(E(call), two.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
""",
        [
            "b'' b'hel' b'hel' EAGAIN",
            "True",
            "5 bytearray(b'hel\\x00\\x00\\x00\\x00\\x00\\x00')",
            "(b'', 0) EAGAIN ENOTSUP EINVAL",
            "ECONNREFUSED 0",
            "ECONNREFUSED 0",
        ],
    ),
    "options of datagram sockets": (
        """
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
options = [(socket.SOL_SOCKET, name) for name in (socket.SO_RCVBUF, socket.SO_SNDBUF, socket.SO_BROADCAST)]
options += [(socket.SOL_SOCKET, socket.SO_REUSEADDR)]
for level, name in (*options, (socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IP, socket.IP_TOS)):
    before = min(one.getsockopt(level, name), 9999)
    print(before, E(one.setsockopt, level, name, 9), one.getsockopt(level, name), end=" ")
    print(E(one.setsockopt, level, name, b"\\1"))
level, name = options[0]
print(E(one.setsockopt, level, name, 100_000), one.getsockopt(level, name))
print(E(one.setsockopt, socket.IPPROTO_IP, socket.IP_TTL, 256), one.getsockopt(socket.IPPROTO_IP, socket.IP_TTL))
""",
        [
            "9999 None 2304 EINVAL",
            "9999 None 4608 EINVAL",
            "0 None 1 EINVAL",
            "0 None 1 EINVAL",
            "64 None 9 None",
            "0 None 9 None",
            "None 200000",
            "EINVAL 1",
        ],
    ),
    "who may have one port": (
        """
SOL, A, P = socket.SOL_SOCKET, socket.SO_REUSEADDR, socket.SO_REUSEPORT
def made(kind, options):
    one = socket.socket(socket.AF_INET, kind)
    for option in options:
        one.setsockopt(SOL, option, 1)
    return one
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for first in ((), (A,), (P,), (A, P)):
        for second in ((), (A,), (P,), (A, P)):
            one, other = made(kind, first), made(kind, second)
            one.bind((HERE, 7000))
            said = [E(other.bind, (HERE, 7000))]
            if kind == socket.SOCK_STREAM and said == [None]:
                said += [E(one.listen), E(other.listen), E(made(kind, second).bind, ("", 7000))]
                said += [E(made(kind, first).connect, (HERE, 7000))]
            print(*said, end="; ")
            one.close()
            other.close()
        print()
one = made(socket.SOCK_STREAM, (P,))
one.bind((HERE, 0))
one.listen()
print(one.getsockopt(SOL, P), E(made(socket.SOCK_STREAM, (P,)).bind, ("", one.getsockname()[1])))
sys.stdout.flush()
if not os.fork():
    os.setuid(65534)
    print(E(made(socket.SOCK_STREAM, (P,)).bind, one.getsockname()))
    sys.stdout.flush()
    os._exit(0)
os.wait()
""",
        [
            "EADDRINUSE; EADDRINUSE; EADDRINUSE; EADDRINUSE; ",
            "EADDRINUSE; None None EADDRINUSE EADDRINUSE None; EADDRINUSE; None None EADDRINUSE EADDRINUSE None; ",
            "EADDRINUSE; EADDRINUSE; None None None None None; None None None None None; ",
            "EADDRINUSE; None None EADDRINUSE EADDRINUSE None; None None None None None; None None None None None; ",
            *["EADDRINUSE; EADDRINUSE; EADDRINUSE; EADDRINUSE; "],
            *["EADDRINUSE; None; EADDRINUSE; None; "],
            *["EADDRINUSE; EADDRINUSE; None; None; "],
            *["EADDRINUSE; None; None; None; "],
            "1 None",
            "EADDRINUSE",
        ],
    ),
    "listeners that share a port": (
        """
import asyncio
listeners = [socket.create_server((HERE, 7000), reuse_port=True) for _ in range(3)]
ones = [socket.create_connection((HERE, 7000)) for _ in range(120)]
print(min(taken(listeners, 120, socket.socket.accept)) > 10)
listeners.pop(0).close()
ones += [socket.create_connection((HERE, 7000)) for _ in range(60)]
print(min(taken(listeners, 60, socket.socket.accept)) > 5)
for listener in listeners:
    listener.close()
print(E(socket.create_connection, (HERE, 7000)))
async def serve():
    async def answer(reader, writer):
        writer.write(b"hello")
        writer.close()
    servers = [await asyncio.start_server(answer, HERE, 7001, reuse_port=True) for _ in range(2)]
    for _ in range(8):
        reader, writer = await asyncio.open_connection(HERE, 7001)
        assert await reader.read() == b"hello"
        writer.close()
    for server in servers:
        server.close()
    print(len(servers))
asyncio.run(serve())
""",
        ["True", "True", "ECONNREFUSED", "2"],
    ),
    "datagram sockets that share a port": (
        """
def made(option):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, option, 1)
    one.bind((HERE, 7000))
    return one
def sent(count):
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.sendto(b"x", (HERE, 7000))
    return taken(ones, count, lambda one: one.recv(9))
ones = [made(socket.SO_REUSEPORT) for _ in range(3)]
print(min(sent(120)) > 10)
for one in ones:
    one.close()
ones = [made(socket.SO_REUSEADDR) for _ in range(3)]
print(sent(9))  # the newest
ones.pop().close()
print(sent(9))
""",
        ["True", "[0, 0, 9]", "[0, 9]"],
    ),
    "no descriptors left": (
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
listener = socket.create_server((HERE, 0), backlog=64)
listener.setblocking(False)
def all_of(call):
    ones = []
    while True:
        try:
            ones.append(call())
        except OSError as error:
            print(errno.errorcode[error.errno], len(ones) > 9)
            return ones
ones = all_of(lambda: socket.create_connection(listener.getsockname()))
print(E(ones[0].send, b"still"))
ones += all_of(lambda: listener.accept()[0].detach())
""",
        ["EMFILE True", "5", "EMFILE False"],
    ),
    "names that are none": (
        """
for host, port in (("", 80), (None, None), ("127.0.0.1", "no-such-service")):
    try:
        print(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        print(error.errno in (socket.EAI_NONAME, socket.EAI_SERVICE))
""",
        ["True"] * 3,
    ),
    "datagrams, shut down": (
        """
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((HERE, 0))
said = []
waiting = threading.Thread(target=lambda: said.append(E(one.recv, 1)))
waiting.start()
print(E(one.shutdown, socket.SHUT_RD))
waiting.join()
print(said)
two = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
two.connect((HERE, 9))
print(E(two.shutdown, socket.SHUT_WR), E(two.send, b"x"), E(two.sendto, b"x", (HERE, 9)))
""",
        ["ENOTCONN", "[b'']", "None EPIPE EPIPE"],
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_programs_see(programs: Programs, name: str) -> None:
    text, expected = TEXTS[name]
    both = {node: programs.python(node, PREAMBLE + text) for node in ("l1", "h1")}
    said = {node: program.ok().splitlines() for node, program in both.items()}
    assert said == {"l1": expected, "h1": expected}
