"""Congestion controls. `CONTROLS` are the built-in ones by name; a host's `Parameters.controls` may hold more."""

from __future__ import annotations

from typing import Final

from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.cubic import Cubic
from nodes.tcp.congestion.newreno import NewReno
from nodes.tcp.congestion.reno import Reno

CONTROLS: Final[dict[str, type[CongestionControl]]] = {"reno": Reno, "newreno": NewReno, "cubic": Cubic}
