"""Runs one of the programs by its name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from nodes.shims import keeper

#: Program -> the module in here that is it.
PROGRAMS = {
    "arp": "ifconfig",
    "curl": "curl",
    "ifconfig": "ifconfig",
    "ip": "ip",
    "iperf": "iperf",
    "iperf3": "iperf3",
    "nc": "nc",
    "netstat": "netstat",
    "nstat": "netstat",
    "ping": "ping",
    "ping6": "ping",
    "route": "ifconfig",
    "ss": "ss",
    "sysctl": "sysctl",
    "telnet": "telnet",
    "wget": "curl",
}
#: Programs of the same kind with another name.
SAME = {"iperf2": "iperf", "netcat": "nc", "nc.openbsd": "nc"}
#: What cannot work on a node whose kernel owns no address, and what does instead.
REFUSED = {
    **dict.fromkeys(
        ("ab", "apache2", "dhclient", "dig", "dropbear", "ftp", "host", "hping3", "lighttpd", "lynx", "mtr", "ncat"),
        "",
    ),
    **dict.fromkeys(("netperf", "netserver", "nginx", "nmap", "nslookup", "rsync", "scp", "sftp", "siege"), ""),
    **dict.fromkeys(("socat", "ssh", "sshd", "tracepath", "traceroute", "vsftpd", "w3m", "wrk", "arping"), ""),
    **dict.fromkeys(("iptables", "nft"), "rules of a link drop, delay or change the packets they name"),
    "tc": "the link's own delay, loss, rate and queue are set with `tcplab` or over the API",
    "ethtool": "",
}


def main(argv: Sequence[str]) -> int:
    """Run `argv[0]` with the arguments after it; its exit code."""
    name = argv[0].rpartition("/")[2]
    name = SAME.get(name, name)
    module = PROGRAMS.get(name)
    try:
        if module is None:
            return refuse(name)
        if name in keeper.PROGRAMS and (kept := keeper.configure(name, argv[1:])) is not None:
            return kept
        _be_called(name)
        run = import_module(f"nodes.shims.{module}").run
        code: int = run(name, argv[1:])
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def _be_called(name: str) -> None:
    """What ps and ss show us as."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(name)
    except OSError:
        return


def refuse(name: str) -> int:
    """Say why a program does not run here."""
    instead = REFUSED.get(name, "")
    sys.stderr.write(
        f"{name}: does not run on this node: its TCP/IP is tcplab's, which the kernel and so {name} cannot see.\n"
        + (f"{name}: what works instead: {instead}.\n" if instead else "")
        + f"{name}: here there are {', '.join(PROGRAMS)} and python3; nodes of `kind: linux` run every program.\n"
    )
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
