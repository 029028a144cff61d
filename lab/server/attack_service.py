"""AttackService: attacks on the connections of a lab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from lab.attacks.base import Attack
from lab.server import names
from lab.server.convert_attack import attack, attack_spec
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from nodes.base.errors import NotFound
from tcplab.v1 import attack_pb2

#: Changes of an attack in real time are noticed within this, wall seconds.
_LOOK_EVERY: Final = 0.02


class AttackService:
    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.lab = host.lab

    def CreateAttack(self, request: attack_pb2.CreateAttackRequest, context: Context) -> attack_pb2.Attack:
        if request.attack_id:
            names.check_id(request.attack_id, "attack_id")
        made = self.lab.create_attack(attack_spec(self.host.name, request.attack), request.attack_id)
        return attack(self.host.name, made)

    def GetAttack(self, request: attack_pb2.GetAttackRequest, context: Context) -> attack_pb2.Attack:
        return attack(self.host.name, self._attack(names.parts_of(request)[1]))

    def ListAttacks(self, request: attack_pb2.ListAttacksRequest, context: Context) -> attack_pb2.ListAttacksResponse:
        attacks, token = page(self.lab.attacks.values(), request)
        return attack_pb2.ListAttacksResponse(
            attacks=[attack(self.host.name, one) for one in attacks], next_page_token=token
        )

    def StopAttack(self, request: attack_pb2.StopAttackRequest, context: Context) -> attack_pb2.Attack:
        name = names.parts_of(request)[1]
        self.lab.stop_attack(name)
        return attack(self.host.name, self.lab.attacks[name])

    async def WatchAttack(
        self, request: attack_pb2.WatchAttackRequest, context: Context
    ) -> AsyncIterator[attack_pb2.Attack]:
        name = names.parts_of(request)[1]
        sent = None
        while True:
            changed = self.host.news.next
            one = self._attack(name)
            message = attack(self.host.name, one)
            if message != sent:
                yield message
                sent = message
            if one.ended or self.host.ended:
                return
            await changed.wait()
            if self.lab.real_time:
                await asyncio.sleep(_LOOK_EVERY)  # looking is a call to another process

    def _attack(self, name: str) -> Attack:
        found = self.lab.attacks.get(name)
        if found is None:
            raise NotFound(f"{name!r} is no attack of this lab; there are {', '.join(self.lab.attacks) or 'none'}")
        return found
