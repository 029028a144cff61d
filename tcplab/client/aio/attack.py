"""Attacks in a lab."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tcplab.client.aio.rpc import Rpc
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

    async def refresh(self) -> attack_pb2.Attack:
        """What has become of it, asked now."""
        request = attack_pb2.GetAttackRequest(name=self.message.name)
        self.message = await self._rpc.call(self._rpc.attacks.GetAttack, request)
        return self.message

    async def state(self) -> str:
        """PENDING, RUNNING, DONE or STOPPED, asked now."""
        return attack_pb2.Attack.State.Name((await self.refresh()).state).removeprefix("STATE_")

    async def results(self) -> dict[str, int]:
        """Its counters, asked now."""
        return dict((await self.refresh()).results)

    async def stop(self) -> None:
        """End it early."""
        request = attack_pb2.StopAttackRequest(name=self.message.name)
        self.message = await self._rpc.call(self._rpc.attacks.StopAttack, request)

    async def watch(self) -> AsyncIterator[attack_pb2.Attack]:
        """The attack as it is, then after every change, until it has ended."""
        request = attack_pb2.WatchAttackRequest(name=self.message.name)
        async for message in self._rpc.stream(self._rpc.attacks.WatchAttack, request):
            self.message = message
            yield message

    def __repr__(self) -> str:
        return f"<attack {self.name}>"
