"""From the words of a script to its events: the grammar of google/packetdrill, as far as TCP needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from lab.packetdrill import lexer
from lab.packetdrill.lexer import Token
from lab.packetdrill.options import parse_option
from lab.packetdrill.problem import NotExpressible
from lab.packetdrill.script import (
    ABSOLUTE,
    ANY,
    RELATIVE,
    Action,
    Apply,
    Array,
    Call,
    Code,
    Command,
    Event,
    Expression,
    Flags,
    IcmpPacket,
    Name,
    Packet,
    Script,
    Struct,
    TcpOption,
    Unnamed,
    When,
)
from nodes.base.errors import InvalidArgument
from nodes.packet import tcp

_FLAGS: Final = {
    "F": tcp.FIN,
    "S": tcp.SYN,
    "R": tcp.RST,
    "P": tcp.PSH,
    "U": tcp.URG,
    "E": tcp.ECE,
    "W": tcp.CWR,
    "A": tcp.AE,
    ".": tcp.ACK,
}
_ECN: Final = ("noecn", "ect0", "ect1", "ect01", "ce")
#: Headers that are not TCP over IP.
_FOREIGN: Final = ("ipv4", "ipv6", "gre", "GREv0", "mpls", "udp", "raw", "psp")


def parse(text: str, definitions: Mapping[str, str]) -> Script:
    """The script in `text`. `definitions`: words that stand for others, as of `-D NAME=VALUE`.

    Raises InvalidArgument for what is no packetdrill script, NotExpressible for what is one of other protocols.
    """
    return _Parser(lexer.tokens(text), definitions).script()


class _Parser:
    def __init__(self, words: list[Token], definitions: Mapping[str, str]) -> None:
        self._words = words
        self._definitions = dict(definitions)
        self._at = 0

    # Words.

    @property
    def _after(self) -> Token:
        return self._words[min(self._at + 1, len(self._words) - 1)]

    @property
    def _next(self) -> Token:
        word = self._words[self._at]
        if word.kind == lexer.WORD and word.text in self._definitions:
            return _defined(word, self._definitions[word.text])
        return word

    def _peek(self, text: str) -> bool:
        return self._next.text == text and self._next.kind not in (lexer.STRING, lexer.CODE, lexer.COMMAND)

    def _take(self) -> Token:
        word = self._next
        self._at += 1
        return word

    def _skip(self, text: str) -> bool:
        """Whether the next word is `text`, which is then taken."""
        found = self._peek(text)
        self._at += found
        return found

    def _want(self, text: str) -> None:
        if not self._skip(text):
            self._refuse(repr(text))

    def _of_kind(self, *kinds: str) -> str:
        if self._next.kind not in kinds:
            self._refuse(" or ".join(kinds))
        return self._take().text

    def _integer(self, highest: int = 0xFFFF_FFFF) -> int:
        line = self._next.line
        value = int(self._of_kind(lexer.INTEGER), 0)
        if not 0 <= value <= highest:
            raise InvalidArgument(f"line {line}: {value} is not allowed; 0 to {highest} is", "script", line)
        return value

    def _refuse(self, wanted: str) -> NoReturn:
        word = self._next
        raise InvalidArgument(f"line {word.line}: {word.text!r} is not allowed here; {wanted} is", "script", word.line)

    # The script.

    def script(self) -> Script:
        script = Script()
        while self._next.kind == lexer.OPTION:
            word = self._take()
            name, _, value = word.text[2:].partition("=")
            if name == "define":
                name, _, value = value.partition("=")
                self._definitions[name] = value
            else:
                script.options.append((name, value.strip('"'), word.line))
        script.setup = self._command()
        while self._next.kind not in (lexer.COMMAND, lexer.END):
            script.events.append(self._event())
        script.cleanup = self._command()
        if self._next.kind != lexer.END:
            self._refuse("an event's time")
        if not script.events:
            self._refuse("an event's time")
        return script

    def _command(self) -> Event | None:
        if self._next.kind != lexer.COMMAND:
            return None
        word = self._take()
        return Event(word.line, When(RELATIVE), Command(word.text))

    def _event(self) -> Event:
        line = self._next.line
        when = self._when()
        action = self._action(line)
        outbound = isinstance(action, Packet | IcmpPacket) and not action.inbound
        if (when.end >= 0 or when.kind == ANY) and not outbound:
            what = "`*`" if when.kind == ANY else "a range"
            raise InvalidArgument(f"line {line}: {what} is a time for outbound packets only", "script", line)
        return Event(line, when, action)

    def _when(self) -> When:
        if self._skip("*"):
            return When(ANY)
        kind = RELATIVE if self._skip("+") else ABSOLUTE
        start = self._time()
        end = -1
        if self._skip("~"):
            if kind == RELATIVE:
                self._want("+")
            end = self._time()
            if end < start:
                self._refuse("a later end of the range")
        return When(kind, start, end)

    def _time(self) -> int:
        """Seconds as written, in ns."""
        text = self._of_kind(lexer.INTEGER, lexer.FLOAT)
        if text.startswith("-"):
            self._refuse("a time from 0")
        whole, _, part = text.partition(".")
        return int(whole or "0") * 1_000_000_000 + int((part + "000000000")[:9])

    def _action(self, line: int) -> Action:
        word = self._next
        if word.kind == lexer.COMMAND:
            return Command(self._take().text)
        if word.kind == lexer.CODE:
            return Code(self._take().text.strip(" \t"))
        if word.text in ("<", ">"):
            self._at += 1
            return self._packet(line, word.text == "<")
        return self._call()

    # Packets.

    def _packet(self, line: int, inbound: bool) -> Packet | IcmpPacket:
        ecn = ""
        if self._skip("["):
            while not self._skip("]"):
                word = self._take()
                if word.text in _ECN:
                    ecn = word.text
                elif word.text != ",":
                    raise NotExpressible(line, f"[{word.text}] of the IP header")
        if self._next.text in _FOREIGN:
            raise NotExpressible(line, f"header {self._next.text}")
        if self._skip("icmp"):
            return self._icmp(inbound)
        src_port = dst_port = 0
        if self._next.kind == lexer.INTEGER and self._after.kind == ">":
            src_port = self._integer(65535)
            self._want(">")
            dst_port = self._integer(65535)
        flags = self._flags()
        seq, size = self._range()
        ack = self._integer() if self._skip("ack") else 0
        window = self._integer(65535) if self._skip("win") else -1
        urgent = self._integer(65535) if self._skip("urg") else 0
        options: tuple[TcpOption, ...] | None = ()
        if self._skip("<"):
            options = self._options(inbound)
        return Packet(inbound, flags, seq, size, ack, window, urgent, options, ecn, src_port, dst_port)

    def _flags(self) -> int:
        if self._skip("-"):
            return 0
        first = self._next
        text = ""
        if first.kind == lexer.WORD or (first.kind == lexer.INTEGER and self._after.kind == "."):
            self._at += 1
            text = first.text
        # The number behind the dot, as in P.5, is of the flags.
        if self._next.kind == lexer.FLOAT and self._next.text.startswith("."):
            text += self._next.text
            self._at += 1
        elif self._skip("."):
            text += "."
        if not text:
            self._refuse("TCP flags such as S, S., P., F., R or -")
        flags = 0
        for letter in text:
            if letter in "01234567":
                # The ACE field of AccECN as a number: AE, CWR, ECE.
                flags |= int(letter) * tcp.ECE
            elif letter in _FLAGS:
                flags |= _FLAGS[letter]
            else:
                raise NotExpressible(first.line, f"flag {letter} in {text}")
        return flags

    def _range(self) -> tuple[int, int]:
        line = self._next.line
        start = self._integer()
        self._want(":")
        end = self._integer()
        self._want("(")
        size = self._integer(65535)
        self._want(")")
        if (start + size) & 0xFFFF_FFFF != end:
            raise InvalidArgument(f"line {line}: {start} and {size} bytes do not make {end}", "script", line)
        return start, size

    def _options(self, inbound: bool) -> tuple[TcpOption, ...] | None:
        if self._skip("..."):
            if inbound:
                self._refuse("options: <...> is for outbound packets only")
            self._want(">")
            return None
        found = []
        while True:
            line = self._next.line
            words: list[str] = []
            while not self._peek(",") and not self._peek(">"):
                if self._next.kind == lexer.END:
                    self._refuse("'>'")
                words.append(self._take().text)
            found.append(parse_option(line, words))
            if self._skip(">"):
                return tuple(found)
            self._want(",")

    def _icmp(self, inbound: bool) -> IcmpPacket:
        type_name = self._of_kind(lexer.WORD)
        code_name = ""
        if self._next.kind == lexer.WORD and self._next.text != "mtu" and self._words[self._at + 1].text != "(":
            # A word that begins the next event would be a system call's name, which has a parenthesis.
            code_name = self._take().text
        mtu = self._integer() if self._skip("mtu") else 0
        seq = size = 0
        if self._skip("["):
            seq, size = self._range()
            self._want("]")
        return IcmpPacket(inbound, type_name, code_name, mtu, seq, size)

    # System calls.

    def _call(self) -> Call:
        ends: When | None = None
        if self._skip("..."):
            ends = When(RELATIVE, self._time())
        name = self._of_kind(lexer.WORD)
        self._want("(")
        arguments: list[Expression] = []
        while not self._skip(")"):
            arguments.append(self._expression())
            if not self._peek(")"):
                self._want(",")
        self._want("=")
        result = self._expression()
        errno = ""
        if self._next.kind == lexer.WORD:
            errno = self._take().text
        if self._skip("("):
            while not self._skip(")"):
                if self._take().kind == lexer.END:
                    self._refuse("')'")
        return Call(name, tuple(arguments), ends, result, errno)

    def _expression(self) -> Expression:
        first = self._operand()
        if not self._peek("|"):
            return first
        parts = [first]
        while self._skip("|"):
            parts.append(self._operand())
        return Flags(tuple(parts))

    def _operand(self) -> Expression:
        word = self._next
        if word.kind == lexer.INTEGER:
            return int(self._take().text, 0)
        if word.kind == lexer.STRING:
            text = ""
            while self._next.kind == lexer.STRING:
                text += self._take().text
            self._skip("...")
            return text
        if self._skip("..."):
            return Unnamed()
        if self._skip("["):
            return Array(tuple(value for _, value in self._members("]")))
        if self._skip("{"):
            return Struct(tuple(self._members("}")))
        name = self._of_kind(lexer.WORD)
        if self._skip("("):
            argument = self._expression()
            self._want(")")
            return Apply(name, argument)
        return Name(name)

    def _members(self, end: str) -> list[tuple[str, Expression]]:
        members: list[tuple[str, Expression]] = []
        while not self._skip(end):
            name = ""
            value = self._expression()
            if self._skip("="):
                name = value.text if isinstance(value, Name) else value.function if isinstance(value, Apply) else ""
                value = self._expression()
            members.append((name, value))
            if not self._peek(end):
                self._want(",")
        return members


def _defined(word: Token, value: str) -> Token:
    """What a defined word stands for."""
    if value[:1] == '"':
        return Token(lexer.STRING, value.strip('"'), word.line)
    if value[:1] == "`":
        return Token(lexer.COMMAND, value.strip("`"), word.line)
    return Token(lexer.INTEGER if value.lstrip("-").isdecimal() else lexer.WORD, value, word.line)
