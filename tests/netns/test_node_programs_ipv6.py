"""Programs over IPv6 on nodes with our TCP: against each other, and against the kernel's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.backends.real.lab import RealLab
from tests.netns.programs import Programs

pytestmark = pytest.mark.requires("root", "ip")

#: h1 10.0.0.1 (fd00::1) and h2 10.0.0.2 (fd00::2) are ours, l1 10.0.0.3 (fd00::3) is the kernel's.
TEXT = "ipv6: dual\nnodes: {h1: host, h2: host, l1: linux, s1: switch}\nlinks: [h1-s1, h2-s1, l1-s1]\n"

#: Two connections, of either family: where each socket says it is.
DUAL = """
import socket
listener = socket.create_server(("", 7), family=socket.AF_INET6, dualstack_ipv6=True)
print("listens", *listener.getsockname(), listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
for _ in range(2):
    one, peer = listener.accept()
    with one:
        print(one.family.name, peer[0], one.getsockname()[0], *peer[2:])
        while data := one.recv(65536):
            one.sendall(data)
"""
ASK = """
import os, socket, sys
for address in (sys.argv[1], sys.argv[2]):
    with socket.create_connection((address, 7)) as one:
        data = os.urandom(100_000)
        one.sendall(data)
        peer = one.getpeername()[0]  # not after what ends the connection: in TIME-WAIT there is none, as on Linux
        one.shutdown(socket.SHUT_WR)
        print(one.family.name, peer, b"".join(iter(lambda: one.recv(65536), b"")) == data)
"""
DATAGRAMS = """
import socket
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.bind(("::", 7))
print("bound")
for _ in range(2):
    data, peer = one.recvfrom(2000)
    print(data.decode(), peer[0])
    one.sendto(data.upper(), peer)
"""
SEND_DATAGRAMS = """
import socket, sys
for family, address in ((socket.AF_INET6, sys.argv[1]), (socket.AF_INET, sys.argv[2])):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.connect((address, 7))
        one.send(family.name.encode())
        print(one.recv(100).decode(), one.getpeername()[0])
"""


BOTH_WAYS = pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("h1", "l1"), ("l1", "h1"), ("h1", "h1")])
ADDRESSES = {"h1": ("fd00::1", "10.0.0.1"), "h2": ("fd00::2", "10.0.0.2"), "l1": ("fd00::3", "10.0.0.3")}
LOOPBACK = ("::1", "127.0.0.1")


@BOTH_WAYS
def test_one_listener_takes_both_families(programs: Programs, server: str, client: str) -> None:
    """ipv6(7), RFC 3493 section 3.7: an IPv4 peer is seen as ::ffff:10.0.0.2."""
    serving = programs.python(server, DUAL)
    serving.until("listens :: 7 0 0 0")
    to, own = (LOOPBACK, LOOPBACK) if server == client else (ADDRESSES[server], ADDRESSES[client])
    assert programs.python(client, ASK, *to).ok().splitlines() == [f"AF_INET6 {to[0]} True", f"AF_INET {to[1]} True"]
    assert serving.ok().splitlines()[1:] == [
        f"AF_INET6 {own[0]} {to[0]} 0 0",
        f"AF_INET6 ::ffff:{own[1]} ::ffff:{to[1]} 0 0",
    ]


@BOTH_WAYS
def test_datagrams(programs: Programs, server: str, client: str) -> None:
    serving = programs.python(server, DATAGRAMS)
    serving.until("bound")
    to, own = (LOOPBACK, LOOPBACK) if server == client else (ADDRESSES[server], ADDRESSES[client])
    said = programs.python(client, SEND_DATAGRAMS, *to).ok().splitlines()
    assert said == [f"AF_INET6 {to[0]}", f"AF_INET {to[1]}"]
    assert serving.ok().splitlines()[1:] == [f"AF_INET6 {own[0]}", f"AF_INET ::ffff:{own[1]}"]


#: What a program sees of families, ports and names; the same on the kernel's node but for the names.
SEEN = """
import errno, socket
def six(only=None):
    one = socket.socket(socket.AF_INET6)
    if only is not None:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    return one
def error(call, *arguments):
    try:
        call(*arguments)
    except socket.gaierror as problem:
        return "gaierror"
    except OSError as problem:
        return errno.errorcode[problem.errno]
    return "done"
print(six().getsockname(), six(1).getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
dual = six()
dual.bind(("::", 700))
dual.listen()
four = socket.socket()
print(error(four.bind, ("", 700)), error(six(1).bind, ("", 700)), error(six().bind, ("::1", 700)))
dual.close()
only, beside = six(1), socket.socket()
only.bind(("::", 701))
print(error(only.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0))
only.listen()
print(error(beside.bind, ("", 701)))
beside.listen()
print(error(six(1).connect, ("::ffff:127.0.0.1", 701)))
client = six()
client.connect(("::ffff:127.0.0.1", 701))
print(beside.accept()[1][0], client.getpeername()[0])
client = six()
client.connect(("::", 701, 0, 0))
print(client.getpeername()[0], only.accept()[1][0])
print(error(six().connect, ("::1", 702)), error(six().bind, ("fd00::99", 1)), error(six().connect, ("2001:db8::1", 1)))
print(error(socket.socket().connect, ("::1", 1)), error(six().connect, ("127.0.0.1", 1)))
print(error(socket.socket().setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
print(socket.getaddrinfo("::1", 80, type=socket.SOCK_STREAM)[0][4], socket.has_dualstack_ipv6())
print(*(one[4][0] for one in socket.getaddrinfo(None, 80, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)))
print(socket.getaddrinfo("127.0.0.1", 1, socket.AF_INET6, socket.SOCK_STREAM, 0, socket.AI_V4MAPPED)[0][4][0])
"""


@pytest.mark.parametrize("node", ["h1", "l1"])
def test_what_a_program_sees(programs: Programs, node: str) -> None:
    assert programs.python(node, SEEN).ok().splitlines() == [
        "('::', 0, 0, 0) 1",
        "EADDRINUSE EADDRINUSE EADDRINUSE",
        "EINVAL",
        "done",
        "ENETUNREACH",
        "127.0.0.1 ::ffff:127.0.0.1",
        "::1 ::1",
        "ECONNREFUSED EADDRNOTAVAIL ENETUNREACH",
        "gaierror gaierror",
        "ENOPROTOOPT",
        "('::1', 80, 0, 0) True",
        "::",
        "::ffff:127.0.0.1",
    ]


def test_names(programs: Programs) -> None:
    text = """
import socket
print(*(one[4][0] for one in socket.getaddrinfo("h2", 80, type=socket.SOCK_STREAM)))
print(socket.getaddrinfo("h2", 80, socket.AF_INET6)[0][4], socket.gethostbyname("h2"))
print(socket.gethostbyaddr("fd00::2")[0], socket.getnameinfo(("fd00::2", 80, 0, 0), 0)[0])
print(*(one[4][0] for one in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)))
"""
    assert programs.python("h1", text).ok().splitlines() == [
        "10.0.0.2 fd00::2",
        "('fd00::2', 80, 0, 0) 10.0.0.2",
        "h2 h2",
        "127.0.0.1 ::1",
    ]


@pytest.mark.parametrize("target", ["h2", "l1", "localhost"])
def test_ping(programs: Programs, target: str) -> None:
    address = {"localhost": "::1"}.get(target) or ADDRESSES[target][0]
    for argv in (("ping", "-6"), ("ping6",)):
        lines = programs.start("h1", *argv, "-c", "2", "-i", "0.05", target).ok().splitlines()
        assert lines[0] == f"PING {target}({target} ({address})) 56 data bytes"
        for sequence, line in enumerate(lines[1:3], 1):
            beginning = re.escape(f"64 bytes from {target} ({address}): icmp_seq={sequence} ttl=64 time=")
            assert re.match(beginning, line)
    nobody = programs.start("h1", "ping", "-n", "-c", "1", "fd00::77").wait()
    assert nobody.code == 1
    assert "From fd00::1 icmp_seq=1 Destination unreachable: Address unreachable" in nobody.out


@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("l1", "h1"), ("h1", "l1")])
def test_http_and_curl(programs: Programs, tmp_path: Path, server: str, client: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    where = ("python3", "-u", "-m", "http.server", "80", "--bind", "::", "--directory", str(tmp_path))
    programs.start(server, *where).until("Serving")
    address = ADDRESSES[server][0]
    assert programs.start(client, "curl", "-s", f"http://[{address}]/file").ok() == "content"
    if client != "l1":
        told = programs.start(client, "curl", "-6", "-s", "-v", f"http://{server}/file").wait()
        assert (told.code, told.out) == (0, "content")
        assert f"Trying [{address}]:80" in told.error
        assert f"Connected to {server} ({address}) port 80" in told.error
        assert programs.start(client, "wget", "-q", "-O", "-", f"http://[{address}]:80/file").ok() == "content"


def test_nc_telnet_and_what_ss_and_netstat_say(programs: Programs) -> None:
    server = programs.start("h1", "nc", "-6", "-l", "-v", "700")
    server.until("Listening on :: 700")
    client = programs.start("h2", "nc", "-6", "-v", "h1", "700")
    client.until("succeeded")
    client.write(b"over IPv6\n")
    server.until("over IPv6")
    assert "Connection received on fd00::2" in server.error
    said = programs.start("h1", "ss", "-tn6H", "state", "established").ok().split()
    assert (said[0], said[3]) == ("ESTAB", "[fd00::1]:700")
    assert said[4].startswith("[fd00::2]:")
    assert programs.start("h1", "ss", "-tnH4", "state", "established").ok() == ""
    assert programs.start("h1", "ss", "-tnH", "src", "[fd00::1]:700", "state", "established").ok().split() == said
    assert re.search(r"tcp6 +0 +0 fd00::1:700 +fd00::2:\d+ +ESTABLISHED", programs.start("h1", "netstat", "-tn").ok())
    client.write(b"", end=True)
    client.signal("KILL")
    server.wait()


@pytest.mark.requires("iperf3")
@pytest.mark.parametrize(("server", "client"), [("h1", "h2"), ("l1", "h1"), ("h1", "l1")])
def test_iperf3(programs: Programs, server: str, client: str) -> None:
    """Its server takes both families, as the real one does."""
    serving = programs.start(server, "iperf3", "-s", "-1", "--forceflush")
    serving.until("Server listening")
    target = ADDRESSES[server][0]
    said = programs.start(client, "iperf3", "-6", "-c", target, "-n", "1M").ok()
    assert f"connected to {target} port 5201" in said
    serving.wait()
    assert f"Accepted connection from {ADDRESSES[client][0]}" in serving.out


def test_ip_shows_ipv6(programs: Programs) -> None:
    assert "inet6 fd00::1/64 scope global" in programs.start("h1", "ip", "-6", "addr").ok()
    assert "fd00::/64 dev eth0 proto kernel" in programs.start("h1", "ip", "-6", "route").ok()
    assert programs.start("h1", "ip", "route", "get", "fd00::2").ok().startswith("fd00::2 dev eth0 src fd00::1")


def test_the_kernels_node_has_the_same_addresses(lab: RealLab) -> None:
    with lab.inside("l1"):
        said = subprocess.run(["ip", "-6", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    assert "fd00::3/64" in said
