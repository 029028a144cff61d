# Made by tools/sync_client.py from tcplab/client/aio/__init__.py: change it there.
"""The blocking face of the SDK; tcplab.client exports it."""

from tcplab.client.sync.app import App
from tcplab.client.sync.attack import Attack
from tcplab.client.sync.command import Command
from tcplab.client.sync.connection import Connection, Listener
from tcplab.client.sync.controller import Controller, lab, run
from tcplab.client.sync.labs import Lab
from tcplab.client.sync.link import Link
from tcplab.client.sync.node import Node
from tcplab.client.sync.operation import Operation, Stopped
from tcplab.client.sync.runs import Run
from tcplab.client.sync.sweeps import sweep

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
