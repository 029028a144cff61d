"""ifconfig, route and arp, as net-tools tell them. The lab says what a node's addresses and routes are, so these look
only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nodes.shims.ask import change, open_line, options, wrong
from nodes.shims.flags import fail
from nodes.shims.line import Line


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no such interface."""
    if name == "ifconfig":
        return _ifconfig(name, argv)
    if name == "route":
        if any(not word.startswith("-") for word in argv):
            change(name, "[-n]")
        options(name, argv, {"-n": "numeric", "-e": "extend", "-4": "ipv4"}, "[-n]")
        sys.stdout.write(route_table(open_line(name)))
        return 0
    known = {"-n": "numeric", "-a": "bsd", "-v": "verbose", "-e": "linux"}
    if any(word in ("-s", "-d", "-f", "--set", "--delete") for word in argv):
        change(name, "[-n] [-a] [HOST]")
    given = options(name, argv, known, "[-n] [-a] [HOST]")
    if len(given.rest) > 1:
        wrong(name, "one host at most is asked for", "[-n] [-a] [HOST]")
    _arp(open_line(name), bool(given.bsd), given.rest[0] if given.rest else "")
    return 0


def netmask(length: int) -> str:
    """255.255.255.0 of 24."""
    bits = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))


def broadcast(address: str, length: int) -> str:
    """10.0.0.255 of 10.0.0.1/24."""
    value = int.from_bytes(bytes(map(int, address.split("."))), "big") | (1 << 32 - length) - 1
    return ".".join(map(str, value.to_bytes(4, "big")))


def _ifconfig(name: str, argv: Sequence[str]) -> int:
    if sum(not word.startswith("-") for word in argv) > 1:
        change(name, "[-a] [INTERFACE]")
    given = options(name, argv, {"-a": "all", "-v": "verbose"}, "[-a] [INTERFACE]")
    interfaces = open_line(name).call("interfaces")
    interfaces = [one for one in interfaces if one["name"] != "lo"] + [one for one in interfaces if one["name"] == "lo"]
    if given.rest:
        interfaces = [one for one in interfaces if one["name"] == given.rest[0]]
        if not interfaces:
            fail(given.rest[0], "error fetching interface information: Device not found")
    for one in interfaces:
        sys.stdout.write(_interface(one))
    return 0


def _interface(one: dict[str, Any]) -> str:
    loopback = one["name"] == "lo"
    flags = "73<UP,LOOPBACK,RUNNING>" if loopback else "4163<UP,BROADCAST,RUNNING,MULTICAST>"
    pad = " " * 8
    text = f"{one['name']}: flags={flags}  mtu {one['mtu']}\n"
    if one["address"]:
        text += f"{pad}inet {one['address']}  netmask {netmask(one['prefix_len'])}"
        text += "\n" if loopback else f"  broadcast {broadcast(one['address'], one['prefix_len'])}\n"
    for address, length in one["ipv6"]:
        scope = "0x10<host>" if loopback else "0x20<link>" if address.startswith("fe80:") else "0x0<global>"
        text += f"{pad}inet6 {address}  prefixlen {length}  scopeid {scope}\n"
    kind = "loop  txqueuelen 1000  (Local Loopback)" if loopback else f"ether {one['mac']}  txqueuelen 1000  (Ethernet)"
    text += f"{pad}{kind}\n"
    for way, more in (("RX", "overruns 0  frame 0"), ("TX", "overruns 0  carrier 0  collisions 0")):
        counts = {key: one["counters"][f"{way.lower()}_{key}"] for key in ("packets", "bytes", "errors", "dropped")}
        text += f"{pad}{way} packets {counts['packets']}  bytes {counts['bytes']} ({_size(counts['bytes'])})\n"
        text += f"{pad}{way} errors {counts['errors']}  dropped {counts['dropped']}  {more}\n"
    return text + "\n"


def _size(count: int) -> str:
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.1f} {unit}"


def route_table(line: Line) -> str:
    """As `route -n` and `netstat -rn`."""
    text = "Kernel IP routing table\n"
    text += "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
    for one in sorted(line.call("routes"), key=lambda one: one["prefix_len"]):
        flags = "U" + ("G" if one["gateway"] else "") + ("H" if one["prefix_len"] == 32 else "")
        text += (
            f"{one['prefix']:<15} {one['gateway'] or '0.0.0.0':<15} {netmask(one['prefix_len']):<15} "
            f"{flags:<5} {one['metric']:<6} 0        0 {one['interface']}\n"
        )
    return text


def _arp(line: Line, bsd: bool, host: str) -> None:
    known = line.call("neighbours")
    if host:
        address = line.call("resolve", name=host)[0]
        known = [one for one in known if one["address"] == address]
        if not known:
            sys.stdout.write(f"{host} ({address}) -- no entry\n")
            return
    if not bsd and known:
        sys.stdout.write("Address                  HWtype  HWaddress           Flags Mask            Iface\n")
    for one in known:
        if bsd:
            name = line.call("name_of", host=one["address"]) or "?"
            sys.stdout.write(f"{name} ({one['address']}) at {one['mac']} [ether] on {one['interface']}\n")
        else:
            sys.stdout.write(f"{one['address']:<24} ether   {one['mac']}   C                     {one['interface']}\n")
