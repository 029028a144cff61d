"""Buffers, windows and queues of the stack, as programs on nodes with our TCP meet them."""

from __future__ import annotations

import pytest

from tests.netns.programs import OURS_AND_LINUX, Programs

pytestmark = pytest.mark.requires("root")

TEXT = OURS_AND_LINUX
MARKED = """
import socket, time
def told(one, at):
    return int.from_bytes(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)[at : at + 4], "little")
def segments(flags):
    # tcpi_data_segs_out; with tcpi_total_retrans, or when what waits has waited its 200 ms, the machine was too busy.
    one = socket.create_connection(("h1", 7))
    began = time.monotonic()
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(flags == socket.MSG_EOR))
    one.sendall(bytes(100), flags)
    while not flags and not told(one, 156):
        time.sleep(0.001)
    one.send(bytes(100))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    one.shutdown(socket.SHUT_WR)
    assert one.recv(10) == b"200"
    busy = told(one, 100) or flags and time.monotonic() - began > 0.2
    return segments(flags) if busy else told(one, 156)
for flags in (0, socket.MSG_MORE, socket.MSG_EOR):
    # Then more than any buffer takes at once.
    one = socket.create_connection(("h1", 7))
    one.sendall(bytes(1_000_000), flags)
    one.shutdown(socket.SHUT_WR)
    print({segments(flags) for _ in range(10)}, one.recv(10).decode())
"""
COUNT = """
import socket
listener = socket.create_server(("", 7))
print("listens", flush=True)
while True:
    one, _ = listener.accept()
    total = sum(len(data) for data in iter(lambda: one.recv(65536), b""))
    one.sendall(str(total).encode())
    one.close()
"""


def test_msg_more_and_msg_eor_reach_the_stack(programs: Programs) -> None:
    """On our nodes as on Linux: MSG_MORE joins two writes, MSG_EOR keeps them apart."""
    counter = programs.python("h1", COUNT)
    counter.until("listens")
    said = {node: programs.python(node, MARKED).ok().splitlines() for node in ("h2", "l1")}
    assert said["h2"] == said["l1"] == ["{2} 1000000", "{1} 1000000", "{2} 1000000"]
    counter.signal("KILL")
    counter.wait()


def test_nothing_is_taken_for_a_program_that_does_not_read(programs: Programs) -> None:
    serve = """
import socket, sys
with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    listener.bind(("", 7))
    listener.listen()
    print("listens")
    one, _ = listener.accept()
    sys.stdin.read(1)
    print(sum(len(data) for data in iter(lambda: one.recv(65536), b"")))
"""
    server = programs.python("h1", serve)
    server.until("listens")
    ask = """
import select, socket
one = socket.create_connection(("h1", 7))
one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
one.setblocking(False)
total = 0
while select.select([], [one], [], 1)[1]:
    total += one.send(bytes(16384))
print("blocked after", total, flush=True)
one.setblocking(True)
one.sendall(bytes(100_000))
one.close()
print("all", total + 100_000)
"""
    sender = programs.python("h2", ask)
    # Two buffers of 32 KiB and what the two descriptors hold, not what there is to send.
    assert int(sender.until(r"blocked after (\d+)\n")[1]) < 1_000_000
    server.write(b"\n")
    total = sender.until(r"all (\d+)\n")[1]
    assert server.ok().split()[-1] == total


def test_the_accept_queue_is_the_stacks(programs: Programs) -> None:
    serve = """
import socket, sys
listener = socket.create_server(("", 7), backlog=1)
print("listens")
sys.stdin.read(1)
for _ in range(2):
    print(listener.accept()[1][0])
listener.setblocking(False)
try:
    listener.accept()
except BlockingIOError:
    print("no more")
"""
    server = programs.python("h1", serve)
    server.until("listens")
    ask = """
import socket
ones = [socket.socket() for _ in range(3)]
for one in ones:
    one.settimeout(0.4)
    try:
        one.connect(("h1", 7))
        print("connected", flush=True)
    except TimeoutError:
        print("no answer", flush=True)
input()
"""
    client = programs.python("h2", ask)
    client.until("no answer\n")
    assert client.out.split("\n") == ["connected", "connected", "no answer", ""]
    columns = programs.start("h1", "ss", "-tlnH").ok().split()
    assert columns[:4] == ["LISTEN", "2", "1", "0.0.0.0:7"]
    assert programs.lab.counters("h1")["TcpExtListenOverflows"] > 0
    server.write(b"\n")
    assert server.ok().split("\n")[1:3] == ["10.0.0.2", "10.0.0.2"]
