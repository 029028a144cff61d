"""The knobs of one host's TCP, with the names and units Linux users know, and two profiles of defaults.

`linux` (default) has Linux's values; `rfc` has those of the RFCs. Sizes are bytes; times are in the unit Linux uses
for that name (the table says which). A knob is read when it is used, so a change acts at the next use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from nodes.base.errors import InvalidArgument
from nodes.tcp.congestion import CONTROLS
from nodes.tcp.congestion.base import CongestionControl
from nodes.tcp.mutants import Mutants

#: Bits of tcp_fastopen.
FAST_OPEN_CLIENT: Final = 1
FAST_OPEN_SERVER: Final = 2
FAST_OPEN_CLIENT_NO_COOKIE: Final = 4
FAST_OPEN_SERVER_NO_COOKIE: Final = 0x200
FAST_OPEN_EVERY_LISTENER: Final = 0x400

PROFILES: Final = ("linux", "rfc")


class Knob(NamedTuple):
    """One int knob: allowed range (both ends included), default of each profile, meaning."""

    name: str
    unit: str
    lowest: int
    highest: int
    linux: int
    rfc: int
    meaning: str


_K = Knob
_INT: Final = 2**31 - 1

KNOBS: Final[tuple[Knob, ...]] = (
    # opening
    _K("tcp_syn_retries", "", 0, 127, 6, 7, "times a SYN is sent again, after the linear ones, before ETIMEDOUT"),
    _K("tcp_syn_linear_timeouts", "", 0, 127, 4, 0, "times a SYN is sent again before the back-off starts"),
    _K("tcp_synack_retries", "", 0, 255, 5, 7, "times a SYN-ACK is sent again"),
    _K("tcp_max_syn_backlog", "", 1, _INT, 4096, 4096, "without SYN cookies: three quarters of it bound the SYN queue"),
    _K("tcp_syncookies", "", 0, 2, 1, 0, "1: SYN cookies when the SYN queue is full (RFC 4987 3.6); 2: always"),
    _K("somaxconn", "", 0, _INT, 4096, 4096, "highest backlog of a listener"),
    _K("tcp_abort_on_overflow", "", 0, 1, 0, 0, "1: a connection that finds the accept queue full is reset"),
    _K(
        "tcp_fastopen",
        "",
        0,
        0xFFFFF,
        1,
        0,
        "Fast Open (RFC 7413), bits: 1 client, 2 server, 4 client without cookie, "
        "0x200 server without cookie, 0x400 every listener",
    ),
    _K(
        "tcp_fastopen_blackhole_timeout_sec",
        "s",
        0,
        _INT,
        0,
        3600,
        "time without active Fast Open after a path has swallowed its SYNs; 0: never without",
    ),
    # timers and retransmission
    _K("tcp_rto_initial_ms", "ms", 1, 120_000, 1_000, 1_000, "RTO before the first sample (RFC 6298 2.1)"),
    _K("tcp_rto_min_ms", "ms", 1, 120_000, 200, 1_000, "lowest RTO (linux: lowest distance of RTO above SRTT)"),
    _K("tcp_rto_max_ms", "ms", 1_000, 120_000, 120_000, 120_000, "highest RTO"),
    _K("tcp_retries1", "", 0, 255, 3, 3, "timeouts after which the path's MTU is asked for again (R1)"),
    _K("tcp_retries2", "", 0, 255, 15, 15, "timeouts in a row after which the connection is given up (R2)"),
    _K("tcp_orphan_retries", "", 0, 255, 0, 15, "as tcp_retries2, when the user has closed; linux: 0 means 8"),
    _K("tcp_delack_ms", "ms", 0, 500, 40, 200, "delay of an ACK"),
    _K("tcp_pingpong_thresh", "", 1, 255, 1, 1, "answers that make a session interactive: its ACKs are delayed"),
    _K("tcp_keepalive_time", "s", 1, 32767, 7200, 7200, "idle time before the first keepalive probe"),
    _K("tcp_keepalive_intvl", "s", 1, 32767, 75, 75, "time between keepalive probes"),
    _K("tcp_keepalive_probes", "", 1, 127, 9, 9, "unanswered keepalive probes before the connection is given up"),
    # closing
    _K("tcp_msl_ms", "ms", 1, 1_000_000, 30_000, 120_000, "maximum segment lifetime; TIME-WAIT lasts two of them"),
    _K("tcp_fin_timeout", "s", 0, 86_400, 60, 0, "FIN-WAIT-2 of a connection nobody holds; 0: no limit"),
    _K("tcp_max_orphans", "", 0, _INT, 65_536, _INT, "connections nobody holds; of more the next is reset"),
    _K("tcp_max_tw_buckets", "", 0, _INT, 65_536, _INT, "connections in TIME-WAIT; more end at once"),
    _K("tcp_tw_reuse", "", 0, 2, 2, 0, "an active OPEN may replace TIME-WAIT: 1 yes, 2 on loopback (RFC 6191)"),
    _K("tcp_tw_reuse_delay", "ms", 1, 86_400_000, 1_000, 1_000, "how long it must have lasted for that"),
    _K("tcp_rfc1337", "", 0, 1, 0, 1, "1: a RST does not end TIME-WAIT (RFC 1337)"),
    # guarding
    _K("tcp_challenge_ack_limit", "", 0, _INT, _INT, 10, "challenge ACKs of the host per interval (RFC 5961 7)"),
    _K("tcp_challenge_ack_interval_ms", "ms", 1, 60_000, 1_000, 5_000, "the interval of tcp_challenge_ack_limit"),
    _K(
        "tcp_invalid_ratelimit",
        "ms",
        0,
        60_000,
        500,
        500,
        "a connection's time between challenge ACKs, or answers to dataless segments beyond its window",
    ),
    # options and sizes
    _K("tcp_timestamps", "", 0, 1, 1, 1, "1: timestamps and PAWS (RFC 7323)"),
    _K("tcp_sack", "", 0, 1, 1, 1, "1: selective acknowledgments (RFC 2018)"),
    _K("tcp_dsack", "", 0, 1, 1, 1, "1: what came twice is reported (RFC 2883)"),
    _K("tcp_recovery", "", 0, 1, 1, 0, "1: losses are found by RACK (RFC 8985); 0: by counting (RFC 6675)"),
    _K("tcp_early_retrans", "", 0, 3, 3, 0, "not 0: tail loss probes (RFC 8985 7)"),
    _K("tcp_stdurg", "", 0, 1, 0, 0, "1: the urgent pointer that comes points at the urgent byte, 0: behind it"),
    _K("tcp_window_scaling", "", 0, 1, 1, 1, "1: window scale option (RFC 7323)"),
    _K("tcp_adv_win_scale", "", -31, 31, 1, 0, "of n bytes of receive buffer n - n/2^this are window; 0: all"),
    _K("tcp_moderate_rcvbuf", "", 0, 1, 1, 0, "1: the receive buffer grows with what the user reads in a round trip"),
    _K("rmem_max", "bytes", 256, _INT, 4 << 20, 65_535, "most that SO_RCVBUF sets"),
    _K("wmem_max", "bytes", 4096, _INT, 4 << 20, 65_536, "most that SO_SNDBUF sets"),
    _K(
        "tcp_notsent_lowat",
        "bytes",
        0,
        2**32 - 1,
        2**32 - 1,
        2**32 - 1,
        "not sent yet, under which one may write more (TCP_NOTSENT_LOWAT)",
    ),
    _K(
        "tcp_mtu_probing",
        "",
        0,
        2,
        0,
        1,
        "1: when timeouts hint at a black hole, the path's MTU is searched for (RFC 4821); 2: always; 0: never",
    ),
    _K("tcp_base_mss", "bytes", 48, 65_495, 1024, 1024, "MSS that such a search starts with, options included"),
    _K("tcp_mtu_probe_floor", "bytes", 48, 65_495, 48, 48, "MSS under which it does not go"),
    _K("tcp_probe_interval", "s", 0, _INT, 600, 600, "time after which a search that has ended starts again"),
    _K("tcp_probe_threshold", "bytes", 0, 65_535, 8, 8, "it ends when it has come so near"),
    _K("tcp_min_snd_mss", "bytes", 48, 65_495, 48, 48, "lowest MSS that peer or path can make us use"),
    # congestion
    _K("tcp_initial_cwnd", "segments", 0, 1024, 10, 0, "initial window; 0: by RFC 5681 3.1"),
    _K("tcp_reordering", "", 1, 300, 3, 3, "duplicate ACKs that trigger fast retransmit"),
    _K("tcp_abc", "segments", 0, 1024, 0, 1, "most that one ACK adds in slow start (L of RFC 3465); 0: what it acks"),
    _K("tcp_pacing", "", 0, 1, 0, 0, "1: segments leave evenly spaced, not in bursts (as fq has Linux do it)"),
    _K("tcp_pacing_ss_ratio", "%", 0, 1000, 200, 200, "pacing rate in slow start, of cwnd / SRTT"),
    _K("tcp_pacing_ca_ratio", "%", 0, 1000, 120, 120, "pacing rate later, of cwnd / SRTT"),
    _K(
        "tcp_ecn",
        "",
        0,
        5,
        2,
        2,
        "ECN (RFC 3168): 1: asked for, and granted; 2: granted to who asks; 0: never; AccECN (RFC 9768): 3: asked for, "
        "and granted; 4: granted, ECN asked for; 5: granted to who asks",
    ),
    _K("tcp_ecn_option", "", 0, 2, 2, 2, "the AccECN option: 0: not sent; 1: when it has news; 2: with every segment"),
    _K("tcp_ecn_option_beacon", "", 0, 3, 3, 3, "times in a round trip that the option goes without news"),
    _K(
        "tcp_ecn_fallback",
        "",
        0,
        1,
        1,
        1,
        "1: a SYN that was lost (AccECN: twice) does not ask for ECN; mangling ends it",
    ),
    _K("tcp_abe", "", 0, 1, 0, 0, "1: marks reduce the window less than losses do (ABE, RFC 8511)"),
    _K("tcp_slow_start_after_idle", "", 0, 1, 1, 1, "1: restart from the restart window after an idle RTO"),
    _K("tcp_newcwv", "", 0, 1, 0, 0, "1: instead, a window that is not used is kept and does not count (RFC 7661)"),
    # below TCP
    _K("ip_forward", "", 0, 1, 0, 0, "1: pass on packets for others, as a router does"),
    _K("ip_default_ttl", "", 1, 255, 64, 64, "TTL of the packets sent"),
    _K("hop_limit", "", 1, 255, 64, 64, "hop limit of the IPv6 packets sent"),
    _K("mtu_expires", "s", 1, 86_400, 600, 600, "time a path MTU that a router told is believed"),
    _K("icmp_errors", "", 0, 1, 1, 1, "0: no ICMP errors are sent; as a router, what is too large vanishes unseen"),
    _K("icmp_ratelimit", "ms", 0, 60_000, 1_000, 1_000, "time between ICMP errors to one host, after the first six"),
    _K("ipfrag_time", "s", 1, 3_600, 30, 60, "time the fragments of a packet are kept"),
    _K("ip6frag_time", "s", 1, 3_600, 60, 60, "time the fragments of an IPv6 packet are kept"),
    _K("base_reachable_time_ms", "ms", 1, 86_400_000, 30_000, 60_000, "time a neighbour's MAC address is believed"),
    _K("retrans_time_ms", "ms", 1, 60_000, 1_000, 1_000, "time between requests for a neighbour's MAC address"),
    _K("mcast_solicit", "", 1, 100, 3, 3, "such requests before the host counts as unreachable"),
)
#: Buffers: lowest size, that of a new connection, and the most that it grows to; bytes, for each profile.
BUFFERS: Final[dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]]] = {
    "tcp_rmem": ((4096, 131_072, 6_291_456), (256, 65_535, 65_535)),
    "tcp_wmem": ((4096, 16_384, 4_194_304), (4096, 65_536, 65_536)),
}
_KEY: Final = "[0-9a-f]{8}(-[0-9a-f]{8}){3}"
_KNOB_BY_NAME: Final = {knob.name: knob for knob in KNOBS}

#: Every name `Parameters.set` knows.
NAMES: Final = (
    "profile",
    *(knob.name for knob in KNOBS),
    *BUFFERS,
    "tcp_congestion_control",
    "ip_local_port_range",
    "tcp_fastopen_key",
    "mutants",
)


def parse_int(field: str, value: object, lowest: int, highest: int) -> int:
    """`value` as an int in [lowest, highest]; a string has digits, or hex after 0x. Raises InvalidArgument."""
    number: int | None = None
    if isinstance(value, int):
        number = int(value)
    elif isinstance(value, str):
        text = value.strip()
        if re.fullmatch("0[xX][0-9a-fA-F]{1,16}", text):
            number = int(text, 16)
        elif text.removeprefix("-").isdecimal() and text.isascii():
            number = int(text)
    if number is None or not lowest <= number <= highest:
        raise InvalidArgument(f"{field}: {value!r} is not allowed; an integer from {lowest} to {highest} is", field)
    return number


def parse_key(field: str, value: object) -> str:
    """A key for Fast Open as Linux writes it, `a1b2c3d4-...`, or "". Raises InvalidArgument."""
    if value != "" and not re.fullmatch(_KEY, str(value)):
        raise InvalidArgument(f"{field}: {value!r} is not allowed; four words of eight hex digits are", field)
    return str(value)


class Parameters:
    """The knobs as attributes, read by the stack; `set` and `get` by name for everybody else."""

    __slots__ = (
        "controls",
        "ip_local_port_range",
        "mutants",
        "profile",
        "tcp_congestion_control",
        "tcp_fastopen_key",
        "tcp_rmem",
        "tcp_wmem",
        *(knob.name for knob in KNOBS),
    )

    tcp_syn_retries: int
    tcp_syn_linear_timeouts: int
    tcp_synack_retries: int
    tcp_max_syn_backlog: int
    tcp_syncookies: int
    tcp_fastopen: int
    tcp_fastopen_blackhole_timeout_sec: int
    somaxconn: int
    tcp_abort_on_overflow: int
    tcp_rto_initial_ms: int
    tcp_rto_min_ms: int
    tcp_rto_max_ms: int
    tcp_retries1: int
    tcp_retries2: int
    tcp_orphan_retries: int
    tcp_delack_ms: int
    tcp_pingpong_thresh: int
    tcp_keepalive_time: int
    tcp_keepalive_intvl: int
    tcp_keepalive_probes: int
    tcp_msl_ms: int
    tcp_fin_timeout: int
    tcp_max_orphans: int
    tcp_max_tw_buckets: int
    tcp_tw_reuse: int
    tcp_tw_reuse_delay: int
    tcp_rfc1337: int
    tcp_challenge_ack_limit: int
    tcp_challenge_ack_interval_ms: int
    tcp_invalid_ratelimit: int
    tcp_timestamps: int
    tcp_sack: int
    tcp_dsack: int
    tcp_recovery: int
    tcp_early_retrans: int
    tcp_window_scaling: int
    tcp_adv_win_scale: int
    tcp_moderate_rcvbuf: int
    rmem_max: int
    wmem_max: int
    tcp_notsent_lowat: int
    tcp_mtu_probing: int
    tcp_base_mss: int
    tcp_mtu_probe_floor: int
    tcp_probe_interval: int
    tcp_probe_threshold: int
    tcp_min_snd_mss: int
    tcp_initial_cwnd: int
    tcp_reordering: int
    tcp_stdurg: int
    tcp_abc: int
    tcp_pacing: int
    tcp_pacing_ss_ratio: int
    tcp_pacing_ca_ratio: int
    tcp_ecn: int
    tcp_ecn_option: int
    tcp_ecn_option_beacon: int
    tcp_ecn_fallback: int
    tcp_abe: int
    tcp_slow_start_after_idle: int
    tcp_newcwv: int
    ip_forward: int
    ip_default_ttl: int
    hop_limit: int
    mtu_expires: int
    icmp_errors: int
    icmp_ratelimit: int
    ipfrag_time: int
    ip6frag_time: int
    base_reachable_time_ms: int
    retrans_time_ms: int
    mcast_solicit: int

    def __init__(self, profile: str = "linux") -> None:
        #: Congestion controls by name; put your own class here to make it a value of tcp_congestion_control.
        self.controls: dict[str, type[CongestionControl]] = dict(CONTROLS)
        self.tcp_congestion_control = ""
        self.ip_local_port_range = (32768, 60999)
        self.tcp_rmem, self.tcp_wmem = BUFFERS["tcp_rmem"][0], BUFFERS["tcp_wmem"][0]
        #: Key of the Fast Open cookies, as Linux writes it; "": the host's own secret.
        self.tcp_fastopen_key = ""
        #: What this TCP does wrong, for teaching.
        self.mutants = Mutants()
        self.profile = ""
        self.set("profile", profile)

    def set(self, name: str, value: object) -> None:
        """Set one knob. `profile` sets every knob that differs between profiles, so set it first.

        Raises InvalidArgument naming the knob, the value and what is allowed.
        """
        if name == "profile":
            if value not in PROFILES:
                raise InvalidArgument(f"profile: {value!r} is not allowed; one of {', '.join(PROFILES)} is", name)
            for knob in KNOBS:
                if knob.linux != knob.rfc or not self.profile:
                    setattr(self, knob.name, knob.rfc if value == "rfc" else knob.linux)
            self.tcp_congestion_control = "newreno" if value == "rfc" else "cubic"
            for buffer, sizes in BUFFERS.items():
                setattr(self, buffer, sizes[value == "rfc"])
            self.profile = str(value)
        elif name == "tcp_congestion_control":
            if value not in self.controls:
                raise InvalidArgument(f"{name}: {value!r} is not allowed; one of {', '.join(self.controls)} is", name)
            self.tcp_congestion_control = str(value)
        elif name in BUFFERS:
            setattr(self, name, _parse_sizes(name, value))
        elif name == "ip_local_port_range":
            self.ip_local_port_range = _parse_range(name, value)
        elif name == "mutants":
            self.mutants = Mutants(str(value))
        elif name == "tcp_fastopen_key":
            self.tcp_fastopen_key = parse_key(name, value)
        else:
            known = _KNOB_BY_NAME.get(name)
            if known is None:
                raise InvalidArgument(f"{name}: no such parameter; there are {', '.join(NAMES)}", name)
            setattr(self, name, parse_int(name, value, known.lowest, known.highest))

    def set_all(self, values: Mapping[str, object]) -> None:
        """Set several knobs, all or none; `profile` first, whatever their order. Raises InvalidArgument."""
        ordered = sorted(values.items(), key=lambda item: item[0] != "profile")
        rehearsal = Parameters()
        rehearsal.controls = self.controls
        for name, value in ordered:
            rehearsal.set(name, value)
        for name, value in ordered:
            self.set(name, value)

    def get(self, name: str) -> int | str:
        """The value of one knob; `ip_local_port_range` as Linux prints it. Raises InvalidArgument: unknown name."""
        if name == "ip_local_port_range":
            return "{} {}".format(*self.ip_local_port_range)
        if name in BUFFERS:
            return "{} {} {}".format(*getattr(self, name))
        if name == "mutants":
            return " ".join(self.mutants.names) or "none"
        if name not in NAMES:
            raise InvalidArgument(f"{name}: no such parameter; there are {', '.join(NAMES)}", name)
        value: int | str = getattr(self, name)
        return value

    def window_of(self, size: int) -> int:
        """The window that a receive buffer of `size` bytes has room for, by tcp_adv_win_scale."""
        scale = self.tcp_adv_win_scale
        return size - (size >> scale) if scale > 0 else size >> -scale

    def as_dict(self) -> dict[str, int | str]:
        """Every knob by name."""
        return {name: self.get(name) for name in NAMES}


def _parse_range(name: str, value: object) -> tuple[int, int]:
    parts: list[object] = [*value] if isinstance(value, list | tuple) else [*str(value).split()]
    if len(parts) != 2:
        raise InvalidArgument(f"{name}: {value!r} is not allowed; two ports such as '32768 60999' are", name)
    first = parse_int(name, parts[0], 1, 65535)
    return first, parse_int(name, parts[1], first, 65535)


def _parse_sizes(name: str, value: object) -> tuple[int, int, int]:
    """Three sizes in order; one is that of a new connection, which does not grow."""
    parts: list[object] = [*value] if isinstance(value, list | tuple) else [*str(value).split()]
    if len(parts) == 1:
        size = parse_int(name, parts[0], 1, 2**30 - 1)
        return min(4096, size), size, size
    if len(parts) != 3:
        raise InvalidArgument(f"{name}: {value!r} is not allowed; sizes such as '4096 131072 6291456' are", name)
    least = parse_int(name, parts[0], 1, 2**30 - 1)
    usual = parse_int(name, parts[1], least, 2**30 - 1)
    return least, usual, parse_int(name, parts[2], usual, 2**30 - 1)
