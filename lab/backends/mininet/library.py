"""Mininet's classes, from wherever Mininet is: installed for this Python, or Debian's package.

Raises Unsupported when it is imported and there is none.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import warnings
from typing import Final

from nodes.base.errors import Unsupported

#: Where Debian has it, for its own Python; nothing else from there is imported.
_DEBIAN: Final = "/usr/lib/python3/dist-packages"
HOW_TO_GET: Final = "apt-get install mininet, or pip install 'tcplab[mininet]' and mnexec from Mininet's sources"


def find_mininet() -> None:
    """Have `import mininet` work. Raises Unsupported."""
    if "mininet" in sys.modules or importlib.util.find_spec("mininet") is not None:
        return
    spec = importlib.machinery.PathFinder.find_spec("mininet", [_DEBIAN])
    if spec is None or spec.loader is None:
        raise Unsupported(f"Mininet is not installed: {HOW_TO_GET}; backend netns needs neither")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mininet"] = module
    spec.loader.exec_module(module)


find_mininet()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of distutils, in Python 3.11
    try:
        from mininet.link import Intf, Link
        from mininet.log import warn
        from mininet.net import Mininet
        from mininet.node import Host, Node, OVSBridge, Switch
        from mininet.nodelib import LinuxBridge
        from mininet.topo import LinearTopo, MinimalTopo, SingleSwitchReversedTopo, SingleSwitchTopo, Topo
        from mininet.topolib import TorusTopo, TreeTopo
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"Mininet needs the Python module {error.name}"
            + (", which is in the package setuptools since Python 3.12" if error.name == "distutils" else "")
            + ": pip install setuptools"
        ) from None

#: Topologies by the words that `mn --topo` takes.
TOPOS: Final = {
    "minimal": MinimalTopo,
    "linear": LinearTopo,
    "reversed": SingleSwitchReversedTopo,
    "single": SingleSwitchTopo,
    "tree": TreeTopo,
    "torus": TorusTopo,
}

__all__ = [
    "TOPOS",
    "Host",
    "Intf",
    "Link",
    "LinuxBridge",
    "Mininet",
    "Node",
    "OVSBridge",
    "Switch",
    "Topo",
    "find_mininet",
    "warn",
]
