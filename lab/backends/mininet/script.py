"""Hosts and links for somebody's Mininet program: `Mininet(topo, host=TcplabHost, link=TcplabLink)`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any, Final

from lab.backends.mininet.keeping import keeping
from lab.backends.mininet.library import Host, Intf, Link, LinuxBridge, Mininet, Node, OVSBridge, warn
from lab.backends.mininet.link_options import IMPAIRING
from lab.backends.mininet.switches import OVS_KERNEL, switch_of
from lab.topology.file import AUTO, LINUX_BRIDGE
from nodes import shims

_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+(/\d+)?")


class TcplabHost(Host):  # type: ignore[misc]  # Mininet has no types
    """A host whose TCP/IP is tcplab's. Programs that use the network are ours there: ping, iperf, nc, curl, python3 ...

    `parameters`: knobs of its TCP by their sysctl names, such as `{"tcp_congestion_control": "reno"}`.
    """

    def __init__(self, name: str, **params: Any) -> None:
        self._together = 0
        super().__init__(name, **{**params, "inNamespace": True})
        keeping()(
            "add_host",
            name=name,
            pid=self.pid,
            address=str(params.get("ip") or ""),
            parameters=params.get("parameters") or {},
        )

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:
        env = params.pop("env", None) or os.environ
        here = shims.environment(env.get("PATH", _DEFAULT_PATH), env.get("PYTHONPATH", ""))
        process: subprocess.Popen[bytes] = super()._popen(cmd, env={**env, **here}, **params)
        return process

    # What Mininet would tell the kernel, our stack is told.

    def addIntf(self, intf: Any, *arguments: Any, **params: Any) -> None:
        super().addIntf(intf, *arguments, **params)
        intf.ifconfig = partial(self._ifconfig, intf)
        keeping()("set_device", host=self.name, device=intf.name, mac=intf.mac or intf.updateMAC())

    def delIntf(self, intf: Any) -> None:
        super().delIntf(intf)
        keeping()("remove_device", host=self.name, device=intf.name)

    def config(self, **params: Any) -> Any:
        with self._at_once():
            return super().config(**params)

    def setDefaultRoute(self, intf: Any = None) -> None:
        words = str(intf).split() if intf else []
        found = dict(pairwise(words))
        device = found.get("dev", words[0] if len(words) == 1 else "")
        with self._at_once():
            keeping()("set_default_route", host=self.name, via=found.get("via", ""), device=device)

    def setHostRoute(self, ip: str, intf: Any) -> None:
        with self._at_once():
            keeping()("add_host_route", host=self.name, address=ip, device=str(intf))

    def setARP(self, ip: str, mac: str) -> str:
        """Our stack asks for itself."""
        return ""

    def terminate(self) -> None:
        keeping()("remove_host", name=self.name)
        super().terminate()

    def _ifconfig(self, intf: Any, *words: Any) -> Any:
        if not words or not _ADDRESS.fullmatch(str(words[0])):
            if words[:2] == ("hw", "ether"):
                with self._at_once():
                    keeping()("set_device", host=self.name, device=intf.name, mac=words[2])
            # What is to be changed is the kernel's interface; what is to be seen, ours.
            return self.cmd((shutil.which("ifconfig") if words else None) or "ifconfig", intf.name, *words)
        with self._at_once():
            address = "" if words[0].startswith("0.0.0.0") else str(words[0])
            keeping()("set_address", host=self.name, device=intf.name, address=address)
        return ""

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """Our stack begins anew when all is said."""
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
        if not self._together:
            keeping()("apply", host=self.name)


class TcplabIntf(Intf):  # type: ignore[misc]
    """An interface of a TcplabLink. `config` takes the options of Mininet's TCIntf, and other words of our links."""

    def config(self, **params: Any) -> Any:
        options = {name: value for name, value in params.items() if name in IMPAIRING and value is not None}
        rest = {name: value for name, value in params.items() if name not in IMPAIRING}
        result = super().config(**rest)
        if options:
            self.link.impair(self, options)
        return result


class TcplabLink(Link):  # type: ignore[misc]
    """A link that tcplab's link engine carries: delay, loss and the rest need nothing of the kernel.

    Options are those of Mininet's TCLink (`bw`, `delay`, `jitter`, `loss`, `max_queue_size`), for both directions, or
    in `params1` and `params2` for what leaves by one end.
    """

    def __init__(self, node1: Node, node2: Node, **params: Any) -> None:
        self._tcplab_name = ""
        for name in ("addr1", "addr2"):
            if params.get(name) is None:
                params[name] = Mininet.randMac()
        for end in ("cls1", "cls2"):
            params[end] = TcplabIntf
        self._ends: tuple[str, ...] = ()
        super().__init__(node1, node2, **{**params, "fast": True})

    def makeIntfPair(
        self, name1: str, name2: str, addr1: str, addr2: str, node1: Node, node2: Node, **_: object
    ) -> None:
        self._ends = (name1, name2)
        self._tcplab_name = keeping()(
            "add_link",
            nodes=[node1.name, node2.name],
            devices=[name1, name2],
            macs=[addr1, addr2],
            pids=[node1.pid, node2.pid],
        )

    def impair(self, intf: Any, options: dict[str, Any]) -> None:
        """What leaves by one of its interfaces is impaired so from now on, and no other way."""
        end = self._ends.index(intf.name)
        unlike = keeping()("impair", link=self._tcplab_name, end=end, options=options)
        if unlike:
            warn(f"*** {intf.name}: tcplab's links have nothing like {', '.join(unlike)}\n")

    def delete(self) -> None:
        keeping()("remove_link", link=self._tcplab_name)
        super().delete()


def TcplabSwitch(name: str, **params: Any) -> Any:
    """A learning switch that works on this machine: the kernel's bridge, or a bridge of the machine's Open vSwitch,
    which forwards by itself when the kernel has nothing for it. It needs no controller (`controller=None`)."""
    kind = switch_of(AUTO)
    if kind == LINUX_BRIDGE:
        return LinuxBridge(name, **params)
    return OVSBridge(name, datapath="kernel" if kind == OVS_KERNEL else "user", **params)
