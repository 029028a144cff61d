"""Namespaces and interfaces of a topology, seen from inside: by the kernel's sockets, and by packet sockets."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lab.fabric.fabric import Fabric
from lab.fabric.namespaces import Namespace
from lab.topology.loader import topology_from_mapping
from lab.topology.model import Topology
from nodes.base.errors import AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, Unsupported
from nodes.drivers.packet_socket import PacketSocket
from nodes.packet.address import mac_text

pytestmark = pytest.mark.requires("root")

LINUX_PAIR: dict[str, Any] = {"nodes": {"h1": "linux", "h2": "linux"}, "links": ["h1-h2"]}
PAIR: dict[str, Any] = {"nodes": {"h1": "host", "h2": "host"}, "links": ["h1-h2"]}
WAIT_S = 10

MAC = bytes.fromhex("02000000aaaa")
ADDRESS = b"\x0a\0\0\x63"


def topology(spec: dict[str, Any]) -> Topology:
    return topology_from_mapping(spec)


def made(spec: dict[str, Any], direct: Collection[str] = ()) -> closing[Fabric]:
    return closing(Fabric(topology(spec), direct))


def inside(namespace: Namespace, kind: int, address: str = "", port: int = 0) -> socket.socket:
    """A socket in a namespace, bound there."""
    with namespace.entered():
        found = socket.socket(socket.AF_INET, kind)
    found.settimeout(WAIT_S)
    found.bind((address, port))
    return found


def packets(namespace: Namespace, interface: str) -> PacketSocket:
    with namespace.entered():
        return PacketSocket(interface)


def counted(namespace: Namespace, interface: str) -> tuple[int, int]:
    """Frames that an interface has received and sent, by the kernel's count."""
    with namespace.entered():
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    fields = next(line.split() for line in lines if line.strip().startswith(f"{interface}:"))
    return int(fields[2]), int(fields[10])


def descriptors() -> list[str]:
    """The namespaces that this process holds, and its sockets of the kinds that fabrics use: other tests' clients may
    have theirs."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            target = str(one.readlink())
            if target.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(one.name))) as kind:
                    if kind.family in (socket.AF_NETLINK, socket.AF_PACKET) or kind.type == socket.SOCK_DGRAM:
                        found.append(f"{one.name} {target}")
            elif target.startswith(("net:", "user:", "mnt:")):
                found.append(f"{one.name} {target}")
        except OSError:
            continue  # closed meanwhile
    return sorted(found)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever a test does: this thread's namespace and this process's descriptors are as they were."""
    here = Path("/proc/thread-self/ns/net").readlink()
    before = descriptors()
    yield
    assert Path("/proc/thread-self/ns/net").readlink() == here
    assert descriptors() == before


def exchange(fabric: Fabric, size: int) -> bytes:
    """What h2 gets over TCP when h1 sends `size` bytes and closes."""
    data = bytes(range(256)) * (size // 256)
    with inside(fabric.nodes["h2"], socket.SOCK_STREAM, "10.0.0.2", 5000) as listener:
        listener.listen()
        with inside(fabric.nodes["h1"], socket.SOCK_STREAM) as client:
            client.connect(("10.0.0.2", 5000))
            server, peer = listener.accept()
            with server:
                assert peer[0] == "10.0.0.1"
                server.settimeout(WAIT_S)
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                got = b""
                while chunk := server.recv(1 << 20):
                    got += chunk
                server.sendall(got[:100])
                assert client.recv(100, socket.MSG_WAITALL) == data[:100]
    return got


@pytest.mark.parametrize("mtu", [576, 1500, 9000])
def test_kernels_talk_over_a_direct_link_in_frames_of_the_mtu(mtu: int) -> None:
    spec = {**LINUX_PAIR, "links": [{"endpoints": "h1-h2", "mtu": mtu}]}
    size = 100 * 256
    with made(spec, {"h1-h2"}) as fabric, closing(packets(fabric.engine, fabric.ports["h1:eth0"])) as wire:
        assert exchange(fabric, size) == bytes(range(256)) * 100
        frames = [frame for _, frame in wire.receive(1000)]
        tally = wire.statistics()
        assert tally.too_long == 0 and tally.checksum_missing == 0
        assert max(map(len, frames)) == 14 + mtu  # full ones, and no longer
        assert sum(len(frame) - 14 for frame in frames) > size


def test_interfaces_are_as_the_topology_says() -> None:
    spec = {**PAIR, "links": [{"endpoints": "h1:left-h2:right", "mtu": 1234}]}
    with made(spec) as fabric:
        assert fabric.ports == {"h1:left": "e1", "h2:right": "e2"}
        for wire in topology(spec).links.values():
            for end in (wire.a, wire.b):
                with fabric.nodes[end.node].entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as probe:
                    probe.bind((end.name, 0))
                    assert probe.getsockname()[4] == end.mac, mac_text(end.mac)
                    # The kernel's own refusal tells the MTU.
                    probe.send(bytes(14 + 1234))
                    with pytest.raises(OSError, match="too long"):
                        probe.send(bytes(14 + 1235))


def arp_request(target: bytes) -> bytes:
    body = bytes.fromhex("0001080006040001") + MAC + ADDRESS + bytes(6) + target
    return b"\xff" * 6 + MAC + b"\x08\x06" + body


def echo_request(to: bytes, target: bytes) -> bytes:
    """ICMP echo in IPv4, checksums right."""
    icmp = bytes.fromhex("0800f7ff00000000")
    header = bytearray(bytes.fromhex("4500001c0000400040010000") + ADDRESS + target)
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
    return to + MAC + b"\x08\x00" + bytes(header) + icmp


@pytest.mark.parametrize(("kind", "answers"), [("linux", 2), ("host", 0), ("router", 0)])
def test_the_kernel_answers_on_linux_nodes_only(kind: str, answers: int) -> None:
    spec = {"nodes": {"h1": kind, "h2": kind}, "links": ["h1-h2"]}
    found = topology(spec)
    port = found.nodes["h1"].interfaces[0]
    with made(spec) as fabric, closing(packets(fabric.engine, fabric.ports["h1:eth0"])) as wire:
        assert counted(fabric.nodes["h1"], "eth0") == (0, 0)  # coming up, it says nothing
        wire.send(arp_request(port.address))
        # To its own address, and to one that it would have to forward or refuse.
        wire.send(echo_request(port.mac, port.address))
        wire.send(echo_request(port.mac, b"\x0a\x63\0\1"))
        # The kernel's answer to a frame is sent before the sender of the frame goes on, but for its ARP for our MAC.
        received, sent = counted(fabric.nodes["h1"], "eth0")
        assert received == 3
        assert (sent >= answers) if answers else (sent == 0)
        kinds = [frame[12:14] for _, frame in wire.receive(10)]
        assert kinds[:1] == [b"\x08\x06"] * bool(answers)


def test_a_direct_link_carries_everything() -> None:
    """As a wire: also what a switch keeps for itself, what is for its sender, and what is no proper IPv4."""
    spec = {**PAIR, "links": [{"endpoints": "h1-h2", "mtu": 9000}]}
    frames = [
        bytes.fromhex("0180c200000e") + MAC + b"\x88\xcc" + bytes(46),  # LLDP
        bytes.fromhex("0180c2000003") + MAC + b"\x88\x8e" + bytes(46),  # 802.1X
        MAC + MAC + b"\x12\x34" + bytes(46),
        bytes.fromhex("01005e000116") + MAC + b"\x08\0" + bytes(46),
        MAC + MAC + b"\x81\x00\x00\x07\x08\0" + bytes(46),  # VLAN 7
        b"\xff" * 6 + MAC + b"\x08\0" + b"\x45" + bytes(40),  # IPv4 with a wrong length
        b"\x02" * 6 + MAC + b"\x12\x34" + bytes(9000),
    ]
    with (
        made(spec, {"h1-h2"}) as fabric,
        closing(packets(fabric.nodes["h1"], "eth0")) as left,
        closing(packets(fabric.nodes["h2"], "eth0")) as right,
    ):
        for one, other in ((left, right), (right, left)):
            for frame in frames:
                assert one.send(frame)
            assert [frame for _, frame in other.receive(100)] == frames
            assert one.receive(100) == []  # nothing comes back


def test_a_link_changes_hands_while_a_loop_runs() -> None:
    async def scenario() -> None:
        with (
            made(LINUX_PAIR, {"h1-h2"}) as fabric,
            inside(fabric.nodes["h1"], socket.SOCK_DGRAM, "10.0.0.1", 7) as one,
            inside(fabric.nodes["h2"], socket.SOCK_DGRAM, "10.0.0.2", 7) as other,
        ):
            one.sendto(b"first", ("10.0.0.2", 7))
            assert other.recv(100) == b"first"
            fabric.unsplice("h1-h2")
            fabric.unsplice("h1-h2")
            one.sendto(b"lost", ("10.0.0.2", 7))
            with closing(packets(fabric.engine, fabric.ports["h1:eth0"])) as wire:
                one.sendto(b"to the engine", ("10.0.0.2", 7))
                assert [frame[-13:] for _, frame in wire.receive(10)] == [b"to the engine"]
            fabric.splice("h1-h2")
            one.sendto(b"third", ("10.0.0.2", 7))
            assert other.recv(100) == b"third"

    asyncio.run(scenario())


def test_what_cannot_be_spliced() -> None:
    spec = {"nodes": {"h1": "host", "h2": "host", "s1": "switch"}, "links": ["h1-h2", "h1-s1"]}
    with made(spec, {"h1-h2"}) as fabric:
        assert set(fabric.nodes) == {"h1", "h2"}
        assert fabric.ports == {"h1:eth0": "e1", "h1:eth1": "e2", "h2:eth0": "e3"}
        with pytest.raises(AlreadyExists, match="h1-h2 is carried by the kernel already"):
            fabric.splice("h1-h2")
        with pytest.raises(Unsupported, match="h1-s1 ends at a switch"):
            fabric.splice("h1-s1")
        with pytest.raises(NotFound, match="no link h1-h9; there are h1-h2, h1-s1"):
            fabric.splice("h1-h9")


def test_kernel_routers_forward_and_others_do_not() -> None:
    spec = {
        "nodes": {
            "h1": "linux",
            "r1": {"kind": "linux", "parameters": {"ip_forward": 1}},
            "h2": "linux",
        },
        "links": ["h1-r1", "r1-h2"],
    }
    found = topology(spec)
    (far,) = found.addresses("h2")
    address = socket.inet_ntoa(far)
    with made(spec, {"h1-r1", "r1-h2"}) as fabric:
        with (
            inside(fabric.nodes["h1"], socket.SOCK_DGRAM, "", 7) as one,
            inside(fabric.nodes["h2"], socket.SOCK_DGRAM, "", 7) as other,
        ):
            one.sendto(b"through r1", (address, 7))
            data, sender = other.recvfrom(100)
            assert (data, sender[0]) == (b"through r1", socket.inet_ntoa(found.addresses("h1")[0]))
        read = [Path(f"/proc/sys/net/ipv4/{name}").read_text for name in ("ip_forward", "tcp_no_metrics_save")]
        forwarding = {}
        for node, namespace in fabric.nodes.items():
            with namespace.entered():
                forwarding[node] = [one().strip() for one in read]
        assert forwarding == {"h1": ["0", "1"], "r1": ["1", "1"], "h2": ["0", "1"]}


def test_sysctls_are_the_nodes_own() -> None:
    before = {
        name: Path(f"/proc/sys/net/ipv4/{name}").read_text()
        for name in ("tcp_sack", "tcp_syn_retries", "ip_forward", "tcp_no_metrics_save")
    }
    spec = {
        "nodes": {"h1": {"kind": "linux", "parameters": {"tcp_sack": 0, "net.ipv4.tcp_syn_retries": 2}}, "h2": "linux"},
        "links": ["h1-h2"],
    }
    with made(spec) as fabric:
        found = {}
        for node, namespace in fabric.nodes.items():
            with namespace.entered():
                found[node] = [
                    Path(f"/proc/sys/net/ipv4/{name}").read_text().strip() for name in ("tcp_sack", "tcp_syn_retries")
                ]
        assert found == {"h1": ["0", "2"], "h2": ["1", before["tcp_syn_retries"].strip()]}
    assert {name: Path(f"/proc/sys/net/ipv4/{name}").read_text() for name in before} == before


#: The kernel has it in every namespace, and yet but once.
MACHINES = "net.netfilter.nf_hooks_lwtunnel"


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            {**LINUX_PAIR, "nodes": {"h1": "linux", "h2": {"kind": "linux", "parameters": {"tcp_no_such": 1}}}},
            "tcp_no_such",
        ),
        (
            {**LINUX_PAIR, "nodes": {"h1": {"kind": "linux", "parameters": {MACHINES: 0}}, "h2": "linux"}},
            MACHINES,
        ),
        ({**PAIR, "links": ["h1:eth0-h2:lo"]}, "interface h2:lo"),
        ({**PAIR, "links": ["h1:eth0-h2:all"]}, "interface h2:all"),
    ],
)
def test_what_the_kernel_refuses_leaves_nothing(spec: dict[str, Any], error: str) -> None:
    with pytest.raises((InvalidArgument, AlreadyExists, Unsupported), match=error):
        Fabric(topology(spec), ())


def test_progress_and_closing_twice() -> None:
    told: list[tuple[str, int, int]] = []
    fabric = Fabric(topology(PAIR), (), lambda *what: told.append(what))
    assert told == [("namespaces", 1, 2), ("namespaces", 2, 2)]
    fabric.close()
    fabric.close()


def in_a_child(work: Callable[[], None]) -> int:
    """Exit code of a forked process that does the work."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_goes_into_a_node() -> None:
    def work() -> None:
        fabric.nodes["h2"].enter()
        assert {name for _, name in socket.if_nameindex()} == {"lo", "eth0"}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"from the child", ("10.0.0.1", 7))

    with (
        made(LINUX_PAIR, {"h1-h2"}) as fabric,
        inside(fabric.nodes["h1"], socket.SOCK_DGRAM, "10.0.0.1", 7) as receiver,
    ):
        assert in_a_child(work) == 0
        assert receiver.recv(100) == b"from the child"


def test_too_many_nodes_for_this_process_are_refused() -> None:
    names = [f"h{number}" for number in range(1, 51)]
    many = {"nodes": {"s1": "switch", **dict.fromkeys(names, "host")}, "links": [f"{name}-s1" for name in names]}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(descriptors()) + 20, hard))
    try:
        with pytest.raises(ResourceExhausted, match=r"50 nodes take more open files .*ulimit -n"):
            Fabric(topology(many), ())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
