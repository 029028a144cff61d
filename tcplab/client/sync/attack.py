# Made by tools/sync_client.py from tcplab/client/aio/attack.py: change it there.
"""Attacks in a lab."""

from __future__ import annotations

from collections.abc import Iterator

from tcplab.client.sync.rpc import Rpc
from tcplab.v1 import attack_pb2


class Attack:
    """An attack; `message` is what was last known of it."""

    def __init__(self, rpc: Rpc, message: attack_pb2.Attack) -> None:
        self._rpc = rpc
        self.message = message

    @property
    def name(self) -> str:
        """Its name in the lab."""
        return self.message.name.rpartition("/")[2]

    def refresh(self) -> attack_pb2.Attack:
        """What has become of it, asked now."""
        request = attack_pb2.GetAttackRequest(name=self.message.name)
        self.message = self._rpc.call(self._rpc.attacks.GetAttack, request)
        return self.message

    def state(self) -> str:
        """PENDING, RUNNING, DONE or STOPPED, asked now."""
        return attack_pb2.Attack.State.Name((self.refresh()).state).removeprefix("STATE_")

    def results(self) -> dict[str, int]:
        """Its counters, asked now."""
        return dict((self.refresh()).results)

    def stop(self) -> None:
        """End it early."""
        request = attack_pb2.StopAttackRequest(name=self.message.name)
        self.message = self._rpc.call(self._rpc.attacks.StopAttack, request)

    def watch(self) -> Iterator[attack_pb2.Attack]:
        """The attack as it is, then after every change, until it has ended."""
        request = attack_pb2.WatchAttackRequest(name=self.message.name)
        for message in self._rpc.stream(self._rpc.attacks.WatchAttack, request):
            self.message = message
            yield message

    def __repr__(self) -> str:
        return f"<attack {self.name}>"
