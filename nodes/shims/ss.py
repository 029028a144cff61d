"""ss: the node's sockets, in the columns and words of iproute2's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from nodes.shims.ask import Asks, open_line, options, wrong
from nodes.shims.flags import Wrong

_USAGE = "[-tualnieompsHO46r] [state STATE] [src|dst ADDRESS] [sport|dport = :PORT]"
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
    "-i": "info",
    "--info": "info",
    "-e": "extended",
    "-m": "memory",
    "-o": "timers",
    "-p": "processes",
    "--processes": "processes",
    "-s": "summary",
    "--summary": "summary",
    "-H": "bare",
    "--no-header": "bare",
    "-4": "ipv4",
    "--ipv4": "ipv4",
    "-6": "ipv6",
    "--ipv6": "ipv6",
    "-O": "oneline",
    "-r": "resolve",
}
#: ss's word for a state, by RFC 9293's.
STATES = {
    "ESTABLISHED": "ESTAB",
    "SYN-SENT": "SYN-SENT",
    "SYN-RECEIVED": "SYN-RECV",
    "FIN-WAIT-1": "FIN-WAIT-1",
    "FIN-WAIT-2": "FIN-WAIT-2",
    "TIME-WAIT": "TIME-WAIT",
    "CLOSED": "UNCONN",
    "CLOSE-WAIT": "CLOSE-WAIT",
    "LAST-ACK": "LAST-ACK",
    "LISTEN": "LISTEN",
    "CLOSING": "CLOSING",
}
_FILTER = {
    **{word.lower(): {word} for word in STATES.values()},
    "established": {"ESTAB"},
    "syn-recv": {"SYN-RECV"},
    "listening": {"LISTEN"},
    "closed": {"UNCONN"},
    "all": set(STATES.values()),
    "connected": set(STATES.values()) - {"LISTEN", "UNCONN"},
    "synchronized": set(STATES.values()) - {"LISTEN", "UNCONN", "SYN-SENT"},
    "bucket": {"SYN-RECV", "TIME-WAIT"},
    "big": set(STATES.values()) - {"SYN-RECV", "TIME-WAIT"},
}
_INFINITE = 0x7FFF_FFFF

Row = dict[str, Any]


def run(name: str, argv: Sequence[str]) -> int:
    """0."""
    return tell(name, argv, open_line(name))


def tell(name: str, argv: Sequence[str], line: Asks) -> int:
    """As `run`, of the node that `line` knows."""
    given = options(name, argv, _KNOWN, _USAGE)
    rows = _listeners(line.call("listeners")) + _connections(line.call("connections"))
    datagrams = _datagrams(line.call("datagrams"))
    if given.summary:
        _summary(rows, datagrams)
        return 0
    names = {} if not given.resolve else _Names(line)
    both = bool(given.tcp) == bool(given.udp)
    shown = (rows if given.tcp or both else []) + (datagrams if given.udp or both else [])
    try:
        states, admits = _read_filter(given.rest)
    except Wrong as error:
        wrong(name, error, _USAGE)
    if states is None:
        idle = {"LISTEN", "UNCONN"}
        states = idle if given.listening else set(STATES.values()) if given.all else set(STATES.values()) - idle
    if given.ipv4 or given.ipv6:
        shown = [row for row in shown if row["local"][0] == "*" or (":" in row["local"][0]) == bool(given.ipv6)]
    chosen = [row for row in shown if row["state"] in states and admits(row)]
    _show(chosen, both, bool(given.bare), given, names)
    return 0


class _Names(dict[str, str]):
    def __init__(self, line: Any) -> None:
        super().__init__()
        self._line = line

    def __missing__(self, address: str) -> str:
        self[address] = self._line.call("name_of", host=address) or address
        return self[address]


def _listeners(said: list[Row]) -> list[Row]:
    return [
        {
            "kind": "tcp",
            "state": "LISTEN",
            "recv": one["accept_queue"],
            "send": one["backlog"],
            "local": (one["local_address"] or "*", one["local_port"]),
            "peer": (any_like(one["local_address"]), 0),
            "owner": one["owner"],
        }
        for one in said
    ]


def _connections(said: list[Row]) -> list[Row]:
    return [
        {
            "kind": "tcp",
            "state": STATES[one["state_name"]],
            "recv": one["rcv_queue"],
            "send": one["unacked"] + one["notsent_bytes"],
            "local": (one["local_address"], one["local_port"]),
            "peer": (one["remote_address"], one["remote_port"]),
            "owner": one["owner"],
            "info": one,
        }
        for one in said
    ]


def _datagrams(said: list[Row]) -> list[Row]:
    return [
        {
            "kind": "udp",
            "state": "ESTAB" if one["peer"] else "UNCONN",
            "recv": 0,
            "send": 0,
            "local": (one["name"][0], one["name"][1]),
            "peer": tuple(one["peer"] or (any_like(one["name"][0]), 0)),
            "owner": one["owner"],
        }
        for one in said
    ]


def any_like(address: str) -> str:
    """Any address, of the family of a local one; "" is any of both."""
    return "*" if not address else "::" if ":" in address else "0.0.0.0"


def _summary(rows: list[Row], datagrams: list[Row]) -> None:
    count: Callable[..., int] = lambda *states: sum(row["state"] in states for row in rows)  # noqa: E731
    kinds = []
    for kind in (datagrams, rows):
        six = sum(":" in row["local"][0] for row in kind)
        kinds.append(f"{len(kind):<9} {len(kind) - six:<9} {six:<9}".rstrip())
    sys.stdout.write(
        f"Total: {len(rows) + len(datagrams)}\n"
        f"TCP:   {len(rows)} (estab {count('ESTAB')}, closed {count('TIME-WAIT')}, "
        f"orphaned {sum(_is_orphan(row) for row in rows)}, timewait {count('TIME-WAIT')})\n\n"
        "Transport Total     IP        IPv6\n"
        f"RAW\t  0         0         0\nUDP\t  {kinds[0]}\nTCP\t  {kinds[1]}\n"
    )


def _is_orphan(row: Row) -> bool:
    """Whether nobody has it open, and it goes on."""
    return row["state"] != "TIME-WAIT" and bool(row.get("info", {}).get("closed"))


def _read_filter(words: Sequence[str]) -> tuple[set[str] | None, Callable[[Row], bool]]:
    """States, and what a row must be besides. Raises Wrong."""
    states: set[str] | None = None
    tests: list[Callable[[Row], bool]] = []
    left = [word for word in " ".join(words).replace("(", " ").replace(")", " ").split() if word != "and"]
    while left:
        word = left.pop(0)
        if word in ("state", "exclude") and left:
            found = _FILTER.get(left.pop(0).lower())
            if found is None:
                raise Wrong(f"state: there are {', '.join(_FILTER)}")
            if word == "exclude":
                found = set(STATES.values()) - found
            states = found | (states or set()) if word == "state" else found & (states or found)
        elif word in ("src", "dst") and left:
            host, port = _host_and_port(left.pop(0))
            tests.append(_is_end("local" if word == "src" else "peer", host, port))
        elif word in ("sport", "dport") and left:
            port = left.pop(0)
            if port in ("=", "==", "eq") and left:
                port = left.pop(0)
            if not port.lstrip(":").isdigit():
                raise Wrong(f"{word}: a port such as `= :80` is needed; comparisons are not")
            tests.append(_is_end("local" if word == "sport" else "peer", "", port.lstrip(":")))
        else:
            raise Wrong(f"filter {word!r} is not one that tcplab's has; it has state, exclude, src, dst, sport, dport")
    return states, lambda row: all(test(row) for test in tests)


def _host_and_port(text: str) -> tuple[str, str]:
    """Of `10.0.0.1:80`, `[fd00::1]:80`, or an address alone."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _is_end(side: str, host: str, port: str) -> Callable[[Row], bool]:
    return lambda row: host in ("", "*", row[side][0]) and port in ("", "*", str(row[side][1]))


def _show(rows: list[Row], with_kind: bool, bare: bool, given: Any, names: dict[str, str]) -> None:
    def end(one: tuple[str, int]) -> tuple[str, str]:
        host = names[one[0]] if isinstance(names, _Names) else one[0]
        return f"[{host}]:" if ":" in host else f"{host}:", str(one[1] or "*")

    head = ["Netid", "State", "Recv-Q", "Send-Q", "Local Address:", "Port", "Peer Address:", "Port", "Process"]
    lines = [head] if not bare else []
    for row in rows:
        process = _process(row["owner"]) if given.processes else ""
        if given.timers:
            process = " ".join(one for one in (_timer(row), process) if one)
        lines.append(
            [
                row["kind"],
                row["state"],
                str(row["recv"]),
                str(row["send"]),
                *end(row["local"]),
                *end(row["peer"]),
                process,
            ]
        )
    if not lines:
        return
    if not with_kind:
        lines = [one[1:] for one in lines]
    first = len(lines[0]) - 5
    widths = [max(len(one[column]) for one in lines) for column in range(len(lines[0]))]
    for number, one in enumerate(lines):
        text = " ".join(one[column].ljust(widths[column]) for column in range(first))
        for column in (first, first + 2):
            text += " " + one[column].rjust(widths[column]) + one[column + 1].ljust(widths[column + 1])
        text += f" {one[-1]}"
        row = rows[number - (0 if bare else 1)] if number or bare else {}
        details = []
        if given.info and "info" in row:
            details.append(_info(row["info"]))
        if given.memory and "info" in row:
            details.append(f"skmem:(r{row['recv']},t{row['send']})")
        joint = " " if given.oneline else "\n\t "
        sys.stdout.write(text.rstrip() + "".join(joint + detail for detail in details) + "\n")


def _process(owner: str) -> str:
    name, _, pid = owner.rpartition(",")
    return f'users:(("{name}",pid={pid}))' if name else ""


def _timer(row: Row) -> str:
    info = row.get("info")
    if info is None:
        return ""
    if row["state"] == "TIME-WAIT":
        return "timer:(timewait)"
    if info["unacked"]:
        return f"timer:(on,{info['rto'] / 1e6:.0f}ms,{info['retransmits']})"
    return "timer:(keepalive)" if info["keepalive"] else ""


def _info(one: Row) -> str:
    """A connection as `ss -i` tells it: times in ms, windows in segments of the MSS."""
    mss = max(one["snd_mss"], 1)
    flags = ("timestamps", "ts"), ("sack", "sack"), ("ecn", "ecn"), ("ecn_seen", "ecnseen"), ("accecn", "accecn")
    words = [*(word for name, word in flags if name in one["options"]), one["congestion"]]
    if "wscale" in one["options"]:
        words.append(f"wscale:{one['snd_wscale']},{one['rcv_wscale']}")
    words.append(f"rto:{_ms(one['rto'])}")
    if one["backoff"]:
        words.append(f"backoff:{one['backoff']}")
    if one["rtt"]:
        words.append(f"rtt:{_ms(one['rtt'])}/{_ms(one['rttvar'])}")
    if one["ato"]:
        words.append(f"ato:{_ms(one['ato'])}")
    words += [f"mss:{mss}", f"pmtu:{one['pmtu']}", f"rcvmss:{one['rcv_mss']}", f"advmss:{one['advmss']}"]
    words.append(f"cwnd:{one['snd_cwnd'] // mss}")
    if one["snd_ssthresh"] // mss < _INFINITE // mss:
        words.append(f"ssthresh:{one['snd_ssthresh'] // mss}")
    names = ("bytes_sent", "bytes_retrans", "bytes_acked", "bytes_received", "segs_out", "segs_in")
    for name in (*names, "data_segs_out", "data_segs_in"):
        if one[name]:
            words.append(f"{name}:{one[name]}")
    if one["rtt"]:
        words.append(f"send {round(one['snd_cwnd'] * 8e9 / one['rtt'])}bps")
    words += [f"lastsnd:{one['last_data_sent'] // 10**6}", f"lastrcv:{one['last_data_received'] // 10**6}"]
    words.append(f"lastack:{one['last_ack_received'] // 10**6}")
    words.append(f"delivered:{one['delivered_segs']}")
    if one["delivered_ce_segs"]:
        words.append(f"delivered_ce:{one['delivered_ce_segs']}")
    if "accecn" in one["options"]:
        words += [f"{name}:{one[name]}" for name in _ACCECN if one[name]]
    for name in ("busy_time", "rwnd_limited", "sndbuf_limited"):
        if one[name]:
            words.append(f"{name.removesuffix('_time')}:{one[name] // 10**6}ms")
    if one["pacing_rate"]:
        words.append(f"pacing_rate {one['pacing_rate'] * 8}bps")
    if one["delivery_rate"]:
        words.append(f"delivery_rate {one['delivery_rate'] * 8}bps")
    if one["delivery_rate_app_limited"]:
        words.append("app_limited")
    if one["unacked"]:
        words.append(f"unacked:{-(-one['unacked'] // mss)}")
    if one["retrans"] or one["total_retrans"]:
        words.append(f"retrans:{one['retrans']}/{one['total_retrans']}")
    if one["dsack_dups"]:
        words.append(f"dsack_dups:{one['dsack_dups']}")
    if one["reord_seen"]:
        words.append(f"reord_seen:{one['reord_seen']}")
    if one["sacked"]:
        words.append(f"sacked:{-(-one['sacked'] // mss)}")
    if one["lost"]:
        words.append(f"lost:{-(-one['lost'] // mss)}")
    if one["notsent_bytes"]:
        words.append(f"notsent:{one['notsent_bytes']}")
    if one["reordering_queue"]:
        words.append(f"rcv_ooo:{one['reordering_queue']}")
    if one["rcv_rtt"]:
        words.append(f"rcv_rtt:{_ms(one['rcv_rtt'])}")
    words.append(f"rcv_space:{one['rcv_space']}")
    words.append(f"rcv_ssthresh:{one['rcv_ssthresh']}")
    if one["min_rtt"]:
        words.append(f"minrtt:{_ms(one['min_rtt'])}")
    if one["rcv_ooopack"]:
        words.append(f"rcv_ooopack:{one['rcv_ooopack']}")
    words += [f"snd_wnd:{one['snd_wnd']}", f"rcv_wnd:{one['rcv_wnd']}"]
    if one["ca_state"] != "Open":
        words.append(f"ca_state:{one['ca_state']}")
    return " ".join(words)


_ACCECN = (
    *("received_ce", "delivered_e1_bytes", "delivered_e0_bytes", "delivered_ce_bytes"),
    *("received_e1_bytes", "received_e0_bytes", "received_ce_bytes", "accecn_fail_mode"),
)


def _ms(ns: int) -> str:
    return f"{ns / 1e6:.3f}".rstrip("0").rstrip(".")
