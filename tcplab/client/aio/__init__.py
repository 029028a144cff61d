"""The asyncio face of the SDK: as tcplab.client, with `await`.

async with tcplab.client.aio.lab("dumbbell", seed=1) as lab:
    listener = await lab.node("h3").listen(80)
    client = await lab.node("h1").open("h3", 80)
"""

from tcplab.client.aio.app import App
from tcplab.client.aio.attack import Attack
from tcplab.client.aio.command import Command
from tcplab.client.aio.connection import Connection, Listener
from tcplab.client.aio.controller import Controller, lab, run
from tcplab.client.aio.labs import Lab
from tcplab.client.aio.link import Link
from tcplab.client.aio.node import Node
from tcplab.client.aio.operation import Operation, Stopped
from tcplab.client.aio.runs import Run
from tcplab.client.aio.sweeps import sweep

__all__ = [
    "App",
    "Attack",
    "Command",
    "Connection",
    "Controller",
    "Lab",
    "Link",
    "Listener",
    "Node",
    "Operation",
    "Run",
    "Stopped",
    "lab",
    "run",
    "sweep",
]
