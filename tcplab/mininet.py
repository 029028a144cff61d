"""tcplab in Mininet programs: hosts with tcplab's TCP, and links that need nothing of the kernel.

    from tcplab.mininet import TcplabHost, TcplabLink
    net = Mininet(topo, host=TcplabHost, link=TcplabLink)

Needs what backend mininet needs: `pip install 'tcplab[mininet]'`.
"""

from __future__ import annotations

from lab.backends.mininet.script import TcplabHost, TcplabIntf, TcplabLink, TcplabSwitch

__all__ = ["TcplabHost", "TcplabIntf", "TcplabLink", "TcplabSwitch"]
