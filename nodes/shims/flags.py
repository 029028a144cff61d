"""The options of a command line as well-known programs take them. (argparse takes longer to load than ping to run.)"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn


class Wrong(Exception):
    """The command line cannot be done; the text says what and why."""


class Options:
    """What was given: `options.count` is the value of an option, None (of a switch: 0) when it was not given; of one
    that may be repeated the list. `rest` is what is no option."""

    def __init__(self, values: dict[str, Any], rest: list[str]) -> None:
        self._values = values
        self.rest = rest

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def integer(self, name: str, default: int, lowest: int = 0, highest: int = 1 << 62) -> int:
        """The whole number given. Raises Wrong."""
        text = self._values[name]
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            raise Wrong(f"{text!r} is not a number") from None
        if not lowest <= value <= highest:
            raise Wrong(f"{value} is not allowed; {lowest} to {highest} is")
        return value

    def seconds(self, name: str, default: float) -> float:
        """The seconds given. Raises Wrong."""
        text = self._values[name]
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise Wrong(f"{text!r} is no number of seconds") from None
        if not 0 <= value < 1e9:
            raise Wrong(f"{text} seconds are not allowed")
        return value


def parse(argv: Sequence[str], known: Mapping[str, str], stop_at_rest: bool = False) -> Options:
    """Read a command line. `known`: an option ("-c", "--count") and the name of its value; with "=" at the end it takes
    one, with "+" it takes one and may be repeated. Single letters can be given together. Raises Wrong."""
    values: dict[str, Any] = {}
    for target in known.values():
        values[target.rstrip("=+")] = None if target.endswith("=") else [] if target.endswith("+") else 0
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            if stop_at_rest:
                rest += words
                break
        elif word in known or word.startswith("--"):
            name, equals, value = word.partition("=")
            _take(values, known, name, value if equals else None, words)
        else:
            letters = word[1:]
            while letters:
                flag, letters = f"-{letters[0]}", letters[1:]
                if known.get(flag, "").endswith(("=", "+")):
                    _take(values, known, flag, letters or None, words)
                    break
                _take(values, known, flag, None, words)
    return Options(values, rest)


def _take(values: dict[str, Any], known: Mapping[str, str], flag: str, value: str | None, words: list[str]) -> None:
    target = known.get(flag)
    if target is None:
        raise Wrong(f"option {flag} is not one that tcplab's has; it has {', '.join(known)}")
    name = target.rstrip("=+")
    if name == target:
        if value is not None:
            raise Wrong(f"option {flag} takes no value")
        values[name] += 1
        return
    if value is None:
        if not words:
            raise Wrong(f"option {flag} needs a value")
        value = words.pop(0)
    if target.endswith("+"):
        values[name].append(value)
    else:
        values[name] = value


def fail(name: str, text: object, code: int = 1) -> NoReturn:
    """End the program with a line of error."""
    sys.stdout.flush()
    sys.stderr.write(f"{name}: {text}\n")
    sys.stderr.flush()
    raise SystemExit(code)
