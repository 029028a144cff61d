"""netstat and nstat: the node's sockets, routes, interfaces and counters, as net-tools and iproute2 tell them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nodes.shims import ifconfig, ss
from nodes.shims.ask import Asks, open_line, options
from nodes.shims.line import Line

_USAGE = "[-t] [-u] [-a] [-l] [-n] [-p] [-e] | -s | -r | -i"
_KNOWN = {
    "-t": "tcp",
    "--tcp": "tcp",
    "-u": "udp",
    "--udp": "udp",
    "-a": "all",
    "--all": "all",
    "-l": "listening",
    "--listening": "listening",
    "-n": "numeric",
    "--numeric": "numeric",
    "-p": "programs",
    "--programs": "programs",
    "-s": "statistics",
    "--statistics": "statistics",
    "-r": "route",
    "--route": "route",
    "-i": "interfaces",
    "--interfaces": "interfaces",
    "-e": "extend",
    "-4": "ipv4",
    "-6": "ipv6",
    "-w": "raw",
    "-W": "wide",
}
_NSTAT_KNOWN = {"-a": "absolute", "-z": "zeros", "-s": "keep", "-n": "silent"}
#: net-tools' words for states, by ss's.
_STATES = {
    "ESTAB": "ESTABLISHED",
    "SYN-RECV": "SYN_RECV",
    "UNCONN": "",
    "FIN-WAIT-1": "FIN_WAIT1",
    "FIN-WAIT-2": "FIN_WAIT2",
}
#: net-tools' sentences for counters; %d is the count.
_SENTENCES: dict[str, dict[str, str]] = {
    "Ip": {
        "IpInReceives": "%d total packets received",
        "IpInHdrErrors": "%d with invalid headers",
        "IpInAddrErrors": "%d with invalid addresses",
        "IpForwDatagrams": "%d forwarded",
        "IpInUnknownProtos": "%d with unknown protocol",
        "IpInDelivers": "%d incoming packets delivered",
        "IpOutRequests": "%d requests sent out",
        "IpOutDiscards": "%d outgoing packets dropped",
        "IpOutNoRoutes": "%d dropped because of missing route",
        "IpReasmReqds": "%d reassemblies required",
        "IpReasmOKs": "%d packets reassembled ok",
        "IpReasmFails": "%d packet reassemblies failed",
        "IpFragOKs": "%d fragments received ok",
        "IpFragFails": "%d fragments failed",
        "IpFragCreates": "%d fragments created",
    },
    "Icmp": {
        "IcmpInMsgs": "%d ICMP messages received",
        "IcmpInErrors": "%d input ICMP message failed",
        "IcmpInDestUnreachs": "destination unreachable received: %d",
        "IcmpInTimeExcds": "timeout in transit received: %d",
        "IcmpInEchos": "echo requests received: %d",
        "IcmpInEchoReps": "echo replies received: %d",
        "IcmpOutMsgs": "%d ICMP messages sent",
        "IcmpOutDestUnreachs": "destination unreachable sent: %d",
        "IcmpOutTimeExcds": "time exceeded sent: %d",
        "IcmpOutEchos": "echo requests sent: %d",
        "IcmpOutEchoReps": "echo replies sent: %d",
    },
    "Tcp": {
        "TcpActiveOpens": "%d active connection openings",
        "TcpPassiveOpens": "%d passive connection openings",
        "TcpAttemptFails": "%d failed connection attempts",
        "TcpEstabResets": "%d connection resets received",
        "TcpCurrEstab": "%d connections established",
        "TcpInSegs": "%d segments received",
        "TcpOutSegs": "%d segments sent out",
        "TcpRetransSegs": "%d segments retransmitted",
        "TcpInErrs": "%d bad segments received",
        "TcpOutRsts": "%d resets sent",
    },
    "Udp": {
        "UdpInDatagrams": "%d packets received",
        "UdpNoPorts": "%d packets to unknown port received",
        "UdpInErrors": "%d packet receive errors",
        "UdpOutDatagrams": "%d packets sent",
        "UdpRcvbufErrors": "%d receive buffer errors",
    },
    "TcpExt": {
        "TcpExtTW": "%d TCP sockets finished time wait in fast timer",
        "TcpExtTWRecycled": "%d time wait sockets recycled by time stamp",
        "TcpExtDelayedACKs": "%d delayed acks sent",
        "TcpExtListenOverflows": "%d times the listen queue of a socket overflowed",
        "TcpExtListenDrops": "%d SYNs to LISTEN sockets dropped",
        "TcpExtTCPTimeouts": "TCPTimeouts: %d",
        "TcpExtTCPFastRetrans": "%d fast retransmits",
        "TcpExtTCPSlowStartRetrans": "%d retransmits in slow start",
        "TcpExtPAWSEstab": "%d packets rejected in established connections because of timestamp",
    },
    "IpExt": {},
}


def run(name: str, argv: Sequence[str]) -> int:
    """0."""
    if name == "nstat":
        return _nstat(name, argv)
    given = options(name, argv, _KNOWN, _USAGE)
    line = open_line(name)
    if given.route:
        sys.stdout.write(ifconfig.route_table(line))
    elif given.interfaces:
        sys.stdout.write(_interfaces(line))
    else:
        tell(name, argv, line)
    return 0


def tell(name: str, argv: Sequence[str], line: Asks) -> int:
    """Sockets or statistics, of the node that `line` knows; 0."""
    given = options(name, argv, _KNOWN, _USAGE)
    if given.statistics:
        chosen = {"Tcp", "TcpExt", "IpExt"} if given.tcp else set()
        _statistics(line, chosen | ({"Udp"} if given.udp else set()) or set(_SENTENCES))
    else:
        _sockets(line, given)
    return 0


def _sockets(line: Asks, given: Any) -> None:
    rows = ss._listeners(line.call("listeners")) + ss._connections(line.call("connections"))
    datagrams = ss._datagrams(line.call("datagrams"))
    both = bool(given.tcp) == bool(given.udp)
    shown = (rows if given.tcp or both else []) + (datagrams if given.udp or both else [])
    what = "servers and established" if given.all else "only servers" if given.listening else "w/o servers"
    sys.stdout.write(f"Active Internet connections ({what})\n")
    head = "Proto Recv-Q Send-Q Local Address           Foreign Address         State      "
    sys.stdout.write(head + (" PID/Program name" if given.programs else "") + "\n")
    for row in shown:
        idle = row["state"] in ("LISTEN", "UNCONN")
        if not given.all and idle != bool(given.listening):
            continue
        six = row["local"][0] == "*" or ":" in row["local"][0]
        if (given.ipv4 and six) or (given.ipv6 and not six):
            continue
        ends = (row["local"], row["peer"])
        local, peer = (f"{'::' if host == '*' else host}:{port or '*'}" for host, port in ends)
        row = {**row, "send": 0} if row["state"] == "LISTEN" else row  # the kernel shows none there
        state = _STATES.get(row["state"], row["state"].replace("-", "_"))
        text = f"{row['kind'] + '6' * six:<5} {row['recv']:>6} {row['send']:>6} {local:<23} {peer:<23} {state:<11}"
        if given.programs:
            name, _, pid = row["owner"].rpartition(",")
            text += f" {pid}/{name}" if name else " -"
        sys.stdout.write(text.rstrip() + "\n")


def _statistics(line: Asks, groups: set[str]) -> None:
    counters = line.call("counters")
    counters["TcpCurrEstab"] = sum(
        one["state_name"] in ("ESTABLISHED", "CLOSE-WAIT") for one in line.call("connections")
    )
    for group, sentences in _SENTENCES.items():
        if group not in groups:
            continue
        sys.stdout.write(f"{group}:\n")
        for name, sentence in sentences.items():
            count = counters.get(name, 0)
            if count or not group.endswith("Ext"):
                sys.stdout.write(f"    {sentence % count}\n")
        if group.endswith("Ext"):
            for name, count in counters.items():
                if name.startswith(group) and name not in sentences and count:
                    sys.stdout.write(f"    {name.removeprefix(group)}: {count}\n")


def _interfaces(line: Line) -> str:
    text = "Kernel Interface table\n"
    text += "Iface             MTU    RX-OK RX-ERR RX-DRP RX-OVR    TX-OK TX-ERR TX-DRP TX-OVR Flg\n"
    for one in line.call("interfaces"):
        counts = one["counters"]
        numbers = " ".join(
            f"{counts[way + '_packets']:>8} {counts[way + '_errors']:>6} {counts[way + '_dropped']:>6} {0:>6}"
            for way in ("rx", "tx")
        )
        text += f"{one['name']:<15} {one['mtu']:>5} {numbers} {'LRU' if one['name'] == 'lo' else 'BMRU'}\n"
    return text


def _nstat(name: str, argv: Sequence[str]) -> int:
    given = options(name, [word for word in argv if word.startswith("-")], _NSTAT_KNOWN, "[-a] [-z] [COUNTER ...]")
    wanted = [word for word in argv if not word.startswith("-")]
    sys.stdout.write("#kernel\n")
    for counter, count in open_line(name).call("counters").items():
        if (count or given.zeros) and (not wanted or counter in wanted):
            sys.stdout.write(f"{counter:<32}{count:<19}0.0\n")
    return 0
