"""Congestion controls. `CONTROLS` are the built-in ones by name; a host's `Parameters.controls` may hold more."""

from __future__ import annotations

from typing import Final

from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.congestion.bbr import Bbr
from nodes.tcp.congestion.bbr3 import Bbr3
from nodes.tcp.congestion.cubic import Cubic
from nodes.tcp.congestion.dctcp import Dctcp
from nodes.tcp.congestion.newreno import NewReno
from nodes.tcp.congestion.reno import Reno
from nodes.tcp.congestion.tahoe import Tahoe
from nodes.tcp.congestion.uncontrolled import Uncontrolled
from nodes.tcp.congestion.vegas import Vegas

CONTROLS: Final[dict[str, type[CongestionControl]]] = {
    control.name: control for control in (Reno, NewReno, Tahoe, Cubic, Bbr, Bbr3, Dctcp, Vegas, Uncontrolled)
}
