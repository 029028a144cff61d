"""A link that the kernel carries: the far ends of both its interfaces in a bridge of their own.

The bridge learns nothing and keeps nothing for itself, so that it is a wire: what comes in at one end goes out at the
other; but not what has no unicast source, nor what is for 01:80:C2:00:00:00 to 02, which no bridge passes on.
`Documentation/networking/bridge.rst`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.fabric.netlink import IFF_NOARP, IFF_UP, Netlink

_KIND: Final = "bridge"
#: Of the link-local group addresses 01:80:C2:00:00:0x, those that the kernel lets a bridge pass on: not 0 to 2.
_GROUPS: Final = 0xFFF8

#: Docker has the kernel show bridges' frames to iptables, in new namespaces too; there it would also drop what is
#: malformed.
_FILTERS: Final = Path("/proc/sys/net/bridge")


def prepare() -> None:
    """Have bridges in the calling thread's namespace pass on what they get, unseen by netfilter. Raises OSError."""
    for name in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"):
        if (_FILTERS / name).exists():
            (_FILTERS / name).write_text("0")


def splice(netlink: Netlink, what: str, bridge: str, ends: tuple[str, str]) -> None:
    """Join two interfaces that are up. Raises AlreadyExists when they are."""
    options = [
        ("IFLA_BR_STP_STATE", 0),
        ("IFLA_BR_FORWARD_DELAY", 0),
        ("IFLA_BR_MCAST_SNOOPING", 0),
        ("IFLA_BR_AGEING_TIME", 0),
        ("IFLA_BR_GROUP_FWD_MASK", _GROUPS),
    ]
    attributes = [
        ("IFLA_IFNAME", bridge),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", _KIND), ("IFLA_INFO_DATA", {"attrs": options})]}),
    ]
    netlink.new_link(what, attributes, IFF_UP | IFF_NOARP)
    index = netlink.index(bridge)
    port = [("IFLA_BRPORT_LEARNING", 0), ("IFLA_BRPORT_UNICAST_FLOOD", 1)]
    for end in ends:
        netlink.set_link(what, end, [("IFLA_MASTER", index)])
        netlink.set_link(
            what,
            end,
            [
                (
                    "IFLA_LINKINFO",
                    {"attrs": [("IFLA_INFO_SLAVE_KIND", _KIND), ("IFLA_INFO_SLAVE_DATA", {"attrs": port})]},
                )
            ],
        )


def unsplice(netlink: Netlink, what: str, bridge: str) -> None:
    """Part them again. Raises NotFound when they are not joined."""
    netlink.delete_link(what, bridge)
