"""The congestion control of a network namespace, where the machine lets only some be its default.

A namespace but the first takes as `tcp_congestion_control` only what the machine allows everybody, which is not ours to
change. Routes may ask for any the kernel has (RTAX_CC_ALGO, `ip route ... congctl`), and every connection follows its
route: so the routes of the namespace ask for it.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from pyroute2 import IPRoute

_UNICAST: Final = 1
_LOCAL: Final = 2
#: Attributes of a route that say which one it is.
_SAME: Final = ("RTA_DST", "RTA_OIF", "RTA_GATEWAY", "RTA_PREFSRC", "RTA_TABLE", "RTA_PRIORITY")


def ask_on_routes(control: str) -> None:
    """Have every IPv4 route of the calling thread's namespace ask for it. Raises OSError when the kernel has no
    such control."""
    with IPRoute() as netlink:
        for route in _routes(netlink):
            attributes = {name.removeprefix("RTA_").lower(): route.get_attr(name) for name in _SAME}
            netlink.route(
                "replace",
                family=socket.AF_INET,
                dst_len=route["dst_len"],
                scope=route["scope"],
                type=route["type"],
                proto=route["proto"],
                metrics={"cc_algo": control},
                **{name: value for name, value in attributes.items() if value is not None},
            )


def asked_on_routes() -> str:
    """What the routes ask for; "" when they do not."""
    with IPRoute() as netlink:
        for route in _routes(netlink):
            metrics = route.get_attr("RTA_METRICS")
            control = metrics.get_attr("RTAX_CC_ALGO") if metrics is not None else None
            if control:
                return str(control)
    return ""


def _routes(netlink: Any) -> list[Any]:
    return [one for one in netlink.get_routes(family=socket.AF_INET) if one["type"] in (_UNICAST, _LOCAL)]
