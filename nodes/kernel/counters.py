"""The kernel's counters of a network namespace, by their nstat names (/proc/net/snmp, snmp6 and netstat)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FILES: Final = ("/proc/thread-self/net/snmp", "/proc/thread-self/net/netstat")
_FILE6: Final = Path("/proc/thread-self/net/snmp6")
#: Settings and states among the counters.
_NO_COUNTERS: Final = frozenset(
    {"IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn", "TcpCurrEstab"}
)


def read_counters() -> dict[str, int]:
    """All of them, such as TcpActiveOpens and TcpExtTCPTimeouts."""
    counters: dict[str, int] = {}
    for file in _FILES:
        lines = Path(file).read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            group, _, listed = names.partition(":")
            for name, value in zip(listed.split(), values.partition(":")[2].split(), strict=True):
                if group + name not in _NO_COUNTERS:
                    counters[group + name] = int(value)
    if _FILE6.exists():  # not when the kernel has no IPv6
        for line in _FILE6.read_text().splitlines():
            name, value = line.split()
            counters[name] = int(value)
    return counters
