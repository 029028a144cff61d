"""A client in Python made from proto/ alone, with stock tools; nothing of tcplab is installed.

    python -m grpc_tools.protoc -I proto --python_out=OUT --grpc_python_out=OUT proto/tcplab/v1/*.proto
    PYTHONPATH=OUT python python_client.py unix:/path/of/controller.sock

Two hosts on a link that loses 1 % of all frames. One connection carries 10 MB and is closed; a second one is reset by
somebody on the path. Prints what was seen, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading

import grpc

from tcplab.v1 import (
    attack_pb2,
    attack_pb2_grpc,
    connection_pb2,
    lab_pb2,
    lab_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    tcp_pb2,
    tcp_pb2_grpc,
    trace_pb2,
    trace_pb2_grpc,
)

TOPOLOGY = """
nodes: {h1: host, h2: host}
links: [{endpoints: h1-h2, delay: 1ms, loss: 1%}]
"""
PATTERN = bytes(range(256))
LENGTH = 10_000_000


class Client:
    """The services of one controller, and one lab in it."""

    def __init__(self, address: str) -> None:
        channel = grpc.insecure_channel(address)
        self.labs = lab_pb2_grpc.LabServiceStub(channel)
        self.tcp = tcp_pb2_grpc.TcpServiceStub(channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(channel)
        self.attacks = attack_pb2_grpc.AttackServiceStub(channel)
        self.traces = trace_pb2_grpc.TraceServiceStub(channel)
        self.lab = self.labs.CreateLab(lab_pb2.CreateLabRequest(topology_yaml=TOPOLOGY, seed=7)).name
        #: State changes of each connection, filled in by `follow`.
        self.states: dict[str, list[str]] = {}

    def wait(self, *operations: operation_pb2.Operation) -> list[operation_pb2.Operation]:
        """Let lab time pass until all are done; returns how they ended."""
        names = [operation.name for operation in operations]
        self.labs.Advance(lab_pb2.AdvanceRequest(lab=self.lab, operations=names))
        return [self.operations.GetOperation(operation_pb2.GetOperationRequest(name=name)) for name in names]

    def connect(self, port: int) -> tuple[str, str]:
        """A connection from h1 to a new listener on h2: the names of its two ends."""
        listener = self.tcp.Listen(tcp_pb2.ListenRequest(node=f"{self.lab}/nodes/h2", local_port=port))
        opening = self.tcp.Open(tcp_pb2.OpenRequest(node=f"{self.lab}/nodes/h1", remote="h2", remote_port=port))
        accepting = self.tcp.Accept(tcp_pb2.AcceptRequest(listener=listener.name))
        opened, accepted = self.wait(opening, accepting)
        return opened.established.name, accepted.established.name

    def follow(self) -> None:
        """Take down every change of state, until the lab is deleted."""
        only = trace_pb2.EventFilter(kinds=["state"])
        for part in self.traces.FollowTrace(trace_pb2.FollowTraceRequest(lab=self.lab, filter=only)):
            for event in part.events:
                state = connection_pb2.TcpState.Name(event.event.state.new).removeprefix("TCP_STATE_")
                self.states.setdefault(f"{event.node}#{event.connection}", []).append(state)

    def transfer(self) -> operation_pb2.ReceiveResult:
        """10 MB, made on h1 and digested on h2, then both ends close."""
        client, server = self.connect(80)
        payload = tcp_pb2.Pattern(pattern=PATTERN, length=LENGTH)
        sending = self.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=payload))
        receiving = self.tcp.Receive(
            tcp_pb2.ReceiveRequest(connection=server, min_length=LENGTH, max_length=LENGTH, digest_only=True)
        )
        _, received = self.wait(sending, receiving)
        self.tcp.Close(tcp_pb2.CloseRequest(connection=client))
        (end,) = self.wait(self.tcp.Receive(tcp_pb2.ReceiveRequest(connection=server)))
        assert end.received.eof
        self.tcp.Close(tcp_pb2.CloseRequest(connection=server))
        return received.received

    def attack(self) -> tuple[attack_pb2.Attack, str]:
        """Reset a second connection once it has carried 50 kB; returns the attack, and what its sender was told."""
        client, _ = self.connect(81)
        spec = attack_pb2.OnPathRst(link=f"{self.lab}/links/h1-h2", port=81, bytes=50_000)
        attack = self.attacks.CreateAttack(
            attack_pb2.CreateAttackRequest(parent=self.lab, attack=attack_pb2.Attack(on_path_rst=spec))
        )
        payload = tcp_pb2.Pattern(pattern=PATTERN, length=LENGTH)
        (sent,) = self.wait(self.tcp.Send(tcp_pb2.SendRequest(connection=client, pattern=payload)))
        return self.attacks.GetAttack(attack_pb2.GetAttackRequest(name=attack.name)), sent.error.errno


def main() -> None:
    client = Client(sys.argv[1])
    following = threading.Thread(target=client.follow)
    following.start()
    received = client.transfer()
    expected = hashlib.sha256((PATTERN * (LENGTH // len(PATTERN) + 1))[:LENGTH]).hexdigest()
    assert received.sha256 == expected, f"{received.sha256} is not {expected}"
    attack, errno = client.attack()
    client.labs.Advance(lab_pb2.AdvanceRequest(lab=client.lab, idle=True))  # TIME-WAIT too: a minute of lab time
    client.labs.DeleteLab(lab_pb2.DeleteLabRequest(name=client.lab))
    following.join()
    print(
        json.dumps(
            {
                "length": received.length,
                "sha256": received.sha256,
                "rsts": attack.packets,
                "errno": errno,
                "states": client.states,
            }
        )
    )


if __name__ == "__main__":
    main()
