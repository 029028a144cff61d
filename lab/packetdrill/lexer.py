"""The words of a packetdrill script."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from nodes.base.errors import InvalidArgument

INTEGER: Final = "integer"
FLOAT: Final = "float"
WORD: Final = "word"
STRING: Final = "string"
COMMAND: Final = "command"
CODE: Final = "code"
ADDRESS: Final = "address"
OPTION: Final = "option"
#: Punctuation has its own text as its kind, and so has `...`.
ELLIPSIS: Final = "..."
END: Final = "end"

_TOKEN: Final = re.compile(
    r"(?P<space>[ \t\r\n]+|//[^\n]*|/\*.*?\*/)"
    r"|%\{(?P<code>.*?)\}%"
    r"|`(?P<command>(?:\\.|[^`])*)`"
    r'|"(?P<string>(?:\\.|[^"])*)"'
    r"|(?P<option>--[a-zA-Z0-9_]+(?:=(?:\"[^\"]*\"|[^\s\"]+))?)"
    r"|(?P<ellipsis>\.\.\.)"
    r"|(?P<address>\d+\.\d+\.\d+\.\d+)"
    r"|(?P<float>-?\d*\.\d+)"
    r"|(?P<word>-?\d+(?![A-Za-z0-9_])|[A-Za-z0-9_]+)"
    r"|(?P<other>\S)",
    re.DOTALL,
)
_INTEGER: Final = re.compile(r"-?\d+|0[xX][0-9a-fA-F]+")


class Token(NamedTuple):
    """One word: its kind, its text as written, and its line."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """All words of a script, without blanks and comments. The last one is END.

    Raises InvalidArgument for a quote or `%{` that nothing closes.
    """
    found: list[Token] = []
    line = 1
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # `space` and `other` together take every character
        kind = str(match.lastgroup)
        piece = match.group(kind)
        if kind == "word":
            found.append(Token(INTEGER if _INTEGER.fullmatch(piece) else WORD, piece, line))
        elif kind == "other":
            if piece in '`"':
                raise InvalidArgument(f"line {line}: nothing closes this {piece}", "script", line)
            found.append(Token(piece, piece, line))
        elif kind == "ellipsis":
            found.append(Token(ELLIPSIS, piece, line))
        elif kind != "space":
            found.append(Token(kind, piece, line))
        line += match.group().count("\n")
        at = match.end()
    found.append(Token(END, "the end of the script", line))
    return found
