"""Match expressions of packet rules, in the words of Wireshark's display filters.

    tcp.flags.syn == 1 && tcp.flags.ack == 1 && ip.src == h1
    (tcp.len > 0 or tcp.flags.fin) and not tcp.port == 80

Compiled once to closures over a FrameView. A field that a frame does not have makes its comparison false. A bare field
is true when it is there; a bare flag when it is set. `tcp.port`, `udp.port`, `ip.addr` and `ipv6.addr` mean either end:
`==` is true when one of them is equal, `!=` when neither is. A node's name may stand for an address: any of its
addresses of that family.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lab.links.frame import FrameView
from nodes.base.errors import InvalidArgument, NotFound

Predicate = Callable[[FrameView], bool]
Getter = Callable[[FrameView], int]
#: The addresses of a node by its name; raises NotFound when there is no such node.
Resolver = Callable[[str], Sequence[bytes]]

ABSENT: Final = -1
MAX_LENGTH: Final = 1000
MAX_DEPTH: Final = 20


class _Field(NamedTuple):
    kind: str  # int, flag, address, address6, presence
    getters: tuple[Getter, ...]


def _tcp16(at: int) -> Getter:
    return lambda f: f.u16(f.tcp + at) if f.tcp > 0 else ABSENT


def _tcp32(at: int) -> Getter:
    return lambda f: f.u32(f.tcp + at) if f.tcp > 0 else ABSENT


def _udp16(at: int) -> Getter:
    return lambda f: f.u16(f.udp + at) if f.udp > 0 else ABSENT


def _icmp8(at: int) -> Getter:
    return lambda f: f.data[f.icmp + at] if f.icmp > 0 else ABSENT


def _ip32(at: int) -> Getter:
    return lambda f: f.u32(f.ip + at) if f.ip > 0 else ABSENT


def _icmp6_8(at: int) -> Getter:
    return lambda f: f.data[f.icmp6 + at] if f.icmp6 > 0 else ABSENT


def _ipv6_8(at: int) -> Getter:
    return lambda f: f.data[f.ip6 + at] if f.ip6 > 0 else ABSENT


def _ipv6_128(at: int) -> Getter:
    return lambda f: int.from_bytes(f.data[f.ip6 + at : f.ip6 + at + 16], "big") if f.ip6 > 0 else ABSENT


def _tcp_flags(f: FrameView) -> int:
    return f.u16(f.tcp + 12) & 0x1FF if f.tcp > 0 else ABSENT


def _tcp_flag(bit: int) -> Getter:
    return lambda f: int(f.u16(f.tcp + 12) & bit != 0) if f.tcp > 0 else ABSENT


def _presence(where: Callable[[FrameView], int]) -> _Field:
    return _Field("presence", (lambda f: int(where(f) > 0),))


FIELDS: Final[dict[str, _Field]] = {
    "frame.len": _Field("int", (lambda f: len(f.data),)),
    "arp": _presence(lambda f: f.arp),
    "arp.opcode": _Field("int", (lambda f: f.u16(f.arp + 6) if f.arp > 0 else ABSENT,)),
    "ip": _presence(lambda f: f.ip),
    "ip.src": _Field("address", (_ip32(12),)),
    "ip.dst": _Field("address", (_ip32(16),)),
    "ip.addr": _Field("address", (_ip32(12), _ip32(16))),
    "ip.dsfield.dscp": _Field("int", (lambda f: f.data[f.ip + 1] >> 2 if f.ip > 0 else ABSENT,)),
    "ip.dsfield.ecn": _Field("int", (lambda f: f.data[f.ip + 1] & 3 if f.ip > 0 else ABSENT,)),
    "ip.len": _Field("int", (lambda f: f.u16(f.ip + 2) if f.ip > 0 else ABSENT,)),
    "ip.id": _Field("int", (lambda f: f.u16(f.ip + 4) if f.ip > 0 else ABSENT,)),
    "ip.ttl": _Field("int", (lambda f: f.data[f.ip + 8] if f.ip > 0 else ABSENT,)),
    "ip.proto": _Field("int", (lambda f: f.data[f.ip + 9] if f.ip > 0 else ABSENT,)),
    "ipv6": _presence(lambda f: f.ip6),
    "ipv6.src": _Field("address6", (_ipv6_128(8),)),
    "ipv6.dst": _Field("address6", (_ipv6_128(24),)),
    "ipv6.addr": _Field("address6", (_ipv6_128(8), _ipv6_128(24))),
    "ipv6.tclass.dscp": _Field("int", (lambda f: f.u16(f.ip6) >> 6 & 63 if f.ip6 > 0 else ABSENT,)),
    "ipv6.tclass.ecn": _Field("int", (lambda f: f.u16(f.ip6) >> 4 & 3 if f.ip6 > 0 else ABSENT,)),
    "ipv6.plen": _Field("int", (lambda f: f.u16(f.ip6 + 4) if f.ip6 > 0 else ABSENT,)),
    "ipv6.nxt": _Field("int", (_ipv6_8(6),)),
    "ipv6.hlim": _Field("int", (_ipv6_8(7),)),
    "icmpv6": _presence(lambda f: f.icmp6),
    "icmpv6.type": _Field("int", (_icmp6_8(0),)),
    "icmpv6.code": _Field("int", (_icmp6_8(1),)),
    "icmp": _presence(lambda f: f.icmp),
    "icmp.type": _Field("int", (_icmp8(0),)),
    "icmp.code": _Field("int", (_icmp8(1),)),
    "udp": _presence(lambda f: f.udp),
    "udp.srcport": _Field("int", (_udp16(0),)),
    "udp.dstport": _Field("int", (_udp16(2),)),
    "udp.port": _Field("int", (_udp16(0), _udp16(2))),
    "udp.length": _Field("int", (_udp16(4),)),
    "tcp": _presence(lambda f: f.tcp),
    "tcp.srcport": _Field("int", (_tcp16(0),)),
    "tcp.dstport": _Field("int", (_tcp16(2),)),
    "tcp.port": _Field("int", (_tcp16(0), _tcp16(2))),
    "tcp.seq_raw": _Field("int", (_tcp32(4),)),
    "tcp.ack_raw": _Field("int", (_tcp32(8),)),
    "tcp.len": _Field("int", (lambda f: f.payload_end - f.payload if f.tcp > 0 else ABSENT,)),
    "tcp.hdr_len": _Field("int", (lambda f: f.payload - f.tcp if f.tcp > 0 else ABSENT,)),
    "tcp.window_size_value": _Field("int", (_tcp16(14),)),
    "tcp.flags": _Field("int", (_tcp_flags,)),
    "tcp.flags.fin": _Field("flag", (_tcp_flag(0x01),)),
    "tcp.flags.syn": _Field("flag", (_tcp_flag(0x02),)),
    "tcp.flags.reset": _Field("flag", (_tcp_flag(0x04),)),
    "tcp.flags.push": _Field("flag", (_tcp_flag(0x08),)),
    "tcp.flags.ack": _Field("flag", (_tcp_flag(0x10),)),
    "tcp.flags.urg": _Field("flag", (_tcp_flag(0x20),)),
    "tcp.flags.ece": _Field("flag", (_tcp_flag(0x40),)),
    "tcp.flags.cwr": _Field("flag", (_tcp_flag(0x80),)),
    "tcp.flags.ae": _Field("flag", (_tcp_flag(0x100),)),
}

_OPERATORS: Final = {
    "==": "==",
    "eq": "==",
    "!=": "!=",
    "ne": "!=",
    "<": "<",
    "lt": "<",
    "<=": "<=",
    "le": "<=",
    ">": ">",
    "gt": ">",
    ">=": ">=",
    "ge": ">=",
}
_COMPARISONS: Final[dict[str, Callable[[int, int], bool]]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_TOKEN: Final = re.compile(r"\s*(?:(&&|\|\||==|!=|<=|>=|[<>!()])|([A-Za-z0-9_:][A-Za-z0-9_./:-]*)|(.))")
_ADDRESS: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(/[0-9]+)?")
_ADDRESS6: Final = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(/[0-9]+)?")


class _Token(NamedTuple):
    text: str
    at: int  # column, from 1


def compile_match(text: str, resolve: Resolver | None) -> Predicate:
    """Compile an expression; empty text matches every frame. With `resolve` None node names are only checked for form.

    Raises InvalidArgument naming the column and what was expected there, or the node that does not exist.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(f"a match expression of {len(text)} characters; {MAX_LENGTH} are allowed")
    if not text.strip():
        return lambda frame: True
    return _Parser(text, resolve).whole()


class _Parser:
    """Recursive descent: or < and < not < comparison."""

    def __init__(self, text: str, resolve: Resolver | None) -> None:
        self.text = text
        self.resolve = resolve
        self.tokens: list[_Token] = []
        self.next = 0
        self.depth = 0
        for match in _TOKEN.finditer(text.rstrip()):
            token = _Token(match[match.lastindex or 0], match.start(match.lastindex or 0) + 1)
            if match.lastindex == 3:
                raise self.wrong(token, "a field, an operator or a value")
            self.tokens.append(token)

    def wrong(self, token: _Token | None, expected: str) -> InvalidArgument:
        if token is None:
            return InvalidArgument(f"in {self.text!r}: it ends where {expected} was expected")
        return InvalidArgument(f"in {self.text!r}, column {token.at}: {token.text!r} where {expected} was expected")

    def peek(self) -> _Token | None:
        return self.tokens[self.next] if self.next < len(self.tokens) else None

    def take(self, *texts: str) -> bool:
        token = self.peek()
        if token is not None and token.text in texts:
            self.next += 1
            return True
        return False

    def whole(self) -> Predicate:
        result = self.either()
        if self.peek() is not None:
            raise self.wrong(self.peek(), "&&, || or the end")
        return result

    def either(self) -> Predicate:
        terms = [self.both()]
        while self.take("||", "or"):
            terms.append(self.both())
        return terms[0] if len(terms) == 1 else lambda f: any(term(f) for term in terms)

    def both(self) -> Predicate:
        terms = [self.negated()]
        while self.take("&&", "and"):
            terms.append(self.negated())
        return terms[0] if len(terms) == 1 else lambda f: all(term(f) for term in terms)

    def negated(self) -> Predicate:
        token = self.peek()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.wrong(token, f"less nesting (at most {MAX_DEPTH} levels)")
        if self.take("!", "not"):
            inner = self.negated()
            result: Predicate = lambda f: not inner(f)  # noqa: E731
        elif self.take("("):
            result = self.either()
            if not self.take(")"):
                raise self.wrong(self.peek(), ")")
        else:
            result = self.comparison()
        self.depth -= 1
        return result

    def comparison(self) -> Predicate:
        token = self.peek()
        if token is None:
            raise self.wrong(None, "a field")
        field = FIELDS.get(token.text)
        if field is None:
            near = difflib.get_close_matches(token.text, FIELDS, 1)
            raise self.wrong(token, f"a field (did you mean {near[0]}?)" if near else "a field such as tcp.flags.syn")
        self.next += 1
        operator = self.peek()
        if operator is None or operator.text not in _OPERATORS:
            first = field.getters[0]
            if field.kind in ("flag", "presence"):
                return lambda f: first(f) > 0
            return lambda f: first(f) != ABSENT
        if field.kind == "presence":
            raise self.wrong(operator, f"&&, || or the end ({token.text} is a protocol and has no value)")
        if field.kind in ("address", "address6") and _OPERATORS[operator.text] not in ("==", "!="):
            raise self.wrong(operator, "== or != (addresses have no order)")
        self.next += 1
        return self.compare(field, _OPERATORS[operator.text])

    def compare(self, field: _Field, operator: str) -> Predicate:
        value = self.peek()
        if value is None:
            raise self.wrong(None, "a value")
        self.next += 1
        if field.kind in ("address", "address6"):
            is_value = self.address(value, field.kind == "address6")
        else:
            number = self.number(value, field.kind)
            if operator not in ("==", "!="):
                ordered = _COMPARISONS[operator]
                getters = field.getters
                return lambda f: any(ordered(got, number) for getter in getters if (got := getter(f)) != ABSENT)
            is_value = number.__eq__
        if len(field.getters) == 1:
            get = field.getters[0]
            if operator == "==":
                return lambda f: (got := get(f)) != ABSENT and is_value(got)
            return lambda f: (got := get(f)) != ABSENT and not is_value(got)
        one, other = field.getters
        if operator == "==":
            return lambda f: one(f) != ABSENT and (is_value(one(f)) or is_value(other(f)))
        return lambda f: one(f) != ABSENT and not is_value(one(f)) and not is_value(other(f))

    def number(self, token: _Token, kind: str) -> int:
        if kind == "flag":
            if token.text.lower() in ("0", "1", "true", "false"):
                return int(token.text.lower() in ("1", "true"))
            raise self.wrong(token, "0 or 1 (it is a flag)")
        if re.fullmatch(r"[0-9]{1,18}", token.text):
            return int(token.text)
        if re.fullmatch(r"0[xX][0-9A-Fa-f]{1,15}", token.text):
            return int(token.text, 16)
        raise self.wrong(token, "a number such as 1460 or 0x12")

    def address(self, token: _Token, six: bool) -> Callable[[int], bool]:
        what = "an IPv6 address" if six else "an IPv4 address"
        if (_ADDRESS6 if six else _ADDRESS).fullmatch(token.text):
            network: ipaddress.IPv4Network | ipaddress.IPv6Network
            try:
                network = (ipaddress.IPv6Network if six else ipaddress.IPv4Network)(token.text, strict=False)
            except ValueError:
                raise self.wrong(token, what) from None
            base, mask = int(network.network_address), int(network.netmask)
            return lambda got: got & mask == base
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", token.text) or token.text in FIELDS:
            raise self.wrong(token, f"{what} or a node's name")
        if self.resolve is None:
            return lambda got: False
        try:
            addresses = self.resolve(token.text)
        except NotFound as error:
            raise InvalidArgument(f"in {self.text!r}, column {token.at}: {error}") from None
        size = 16 if six else 4
        known = tuple(int.from_bytes(address, "big") for address in addresses if len(address) == size)
        return lambda got: got in known
