"""The shell commands of a script: nothing is run; what they set is read, and set on our stack.

Understood are `sysctl`, packetdrill's `set_sysctls.py`, values echoed into /proc/sys, `ip tcp_metrics flush`, queueing
disciplines that do not shape (fq is tcp_pacing here), offload switches, and scripts made of these
(`../common/defaults.sh`).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from lab.packetdrill.problem import Mismatch, NotExpressible
from lab.packetdrill.wire import Wire
from nodes.base.errors import InvalidArgument
from nodes.tcp.parameters import NAMES, Parameters

_ARITHMETIC: Final = re.compile(r"\$\(\(([\d\s*+]+)\)\)")
_PROC: Final = "/proc/sys/"
_HYSTART: Final = "/sys/module/tcp_cubic/parameters/"

#: Linux's sysctls that have no knob here, with the values under which Linux does what our stack does ("": any, since
#: what they govern, segmentation offload or pacing of the queueing discipline, does not exist here).
_AS_WE_DO: Final[dict[str, tuple[str, ...]]] = {
    "tcp_fack": ("0", "1"),
    "tcp_frto": ("1", "2"),
    "tcp_tso_win_divisor": ("",),
    "tcp_min_tso_segs": ("",),
    "tcp_limit_output_bytes": ("",),
    "tcp_autocorking": ("",),
    "tcp_pacing_ss_ratio": ("200",),
    "tcp_pacing_ca_ratio": ("120",),
    "tcp_notsent_lowat": ("-1",),
    "tcp_no_metrics_save": ("",),
    "tcp_early_retrans": ("4",),
}


class Commands:
    """The shell of one script, whose paths are relative to `folder`."""

    def __init__(self, folder: Path, wire: Wire, parameters: Parameters) -> None:
        self._folder = folder
        self._wire = wire
        self._parameters = parameters
        self._line = 0
        self._counted: dict[str, int] = {}

    def run(self, line: int, text: str) -> None:
        """Do what `text`, at `line` of the script, sets. Raises NotExpressible naming what cannot be done."""
        self._line = line
        for command in _commands(text):
            self._any(command)

    def _any(self, command: str) -> None:
        """`A || B`: B where A cannot be done, as where Linux has no such sysctl."""
        first, *others = re.split(r"\|\|", command)
        try:
            self._one(first)
        except NotExpressible:
            if not others:
                raise
            self._any("||".join(others))

    def _one(self, command: str) -> None:
        command = _ARITHMETIC.sub(lambda match: str(_sum(match.group(1))), command)
        try:
            words = shlex.split(command, comments=True)
        except ValueError:
            raise NotExpressible(self._line, f"command {command}") from None
        words = _without_redirections(words)
        if not words:
            return
        name, *rest = words
        if name == "sysctl":
            self._sysctl(rest)
        elif name.endswith("set_sysctls.py"):
            for word in rest:
                self._assign(word)
        elif name == "echo" and len(rest) == 3 and rest[1] == ">":
            self._set(rest[2], rest[0])
        elif name.endswith(".sh"):
            self._source(name)
        elif name == "ip" and "tcp_metrics" in rest and "flush" in rest:
            self._wire.stack.tcp.fast_open.forget_all()
        elif name == "tc" and rest[:1] == ["qdisc"]:
            self._qdisc(command, rest)
        elif name == "nstat":
            self._nstat(rest)
        elif name != "ethtool":
            raise NotExpressible(self._line, f"command {name}")

    def _sysctl(self, words: list[str]) -> None:
        for word in words:
            if "=" in word:
                self._assign(word)
            elif not word.startswith("-"):
                raise NotExpressible(self._line, f"command sysctl {word}")

    def _assign(self, word: str) -> None:
        name, equals, value = word.partition("=")
        if not equals:
            raise NotExpressible(self._line, f"sysctl {word}")
        self._set(name, value)

    def _set(self, name: str, value: str) -> None:
        if name.startswith(_HYSTART):
            raise NotExpressible(self._line, f"parameter {name.rpartition('/')[2]} of Linux's tcp_cubic")
        key = re.split(r"[./]", name.removeprefix(_PROC))[-1]
        allowed = _AS_WE_DO.get(key, ())
        if key in NAMES:
            try:
                self._parameters.set(key, value)
                return
            except InvalidArgument as error:
                if value not in allowed:
                    raise NotExpressible(self._line, f"sysctl {error}") from None
        elif "" not in allowed and value not in allowed:
            raise NotExpressible(self._line, f"sysctl {key}={value}")

    def _qdisc(self, command: str, words: list[str]) -> None:
        """What the interface's queue does is nothing that TCP sees, but where it refuses packets; fq paces."""
        if "pfifo" in words and "limit" in words and words[words.index("limit") + 1] == "0":
            raise NotExpressible(self._line, "a queue of length 0, which tells the stack that it is full")
        if words[1:2] not in (["delete"], ["del"]) and not {"pfifo", "fq"} & set(words):
            raise NotExpressible(self._line, f"command {command}")
        self._parameters.set("tcp_pacing", int("fq" in words))

    def _nstat(self, words: list[str]) -> None:
        """`nstat` starts counting anew, `nstat | grep NAME` fails unless NAME has counted something since."""
        before, self._counted = self._counted, self._counters()
        if words[:2] == ["|", "grep"] and len(words) == 3:
            name = words[2]
            if name not in self._counted:
                raise NotExpressible(self._line, f"counter {name}")
            if self._counted[name] == before.get(name, 0):
                raise Mismatch(self._line, f"{name} has not counted")
        elif words:
            raise NotExpressible(self._line, f"command nstat {' '.join(words)}")

    def _counters(self) -> dict[str, int]:
        return self._wire.stack.counters.as_dict()

    def _source(self, name: str) -> None:
        """A shell script: what it says counts, if it can be read and says nothing else."""
        if "sysctl_restore" in name:
            return
        path = self._folder / name
        if not path.is_file():
            raise NotExpressible(self._line, f"command {name}, which is no file")
        for command in _commands(path.read_text()):
            self._any(command)


def _commands(text: str) -> list[str]:
    """The commands in a piece of shell: lines joined at backslashes and `||`, split at newlines, `;` and `&&`."""
    text = re.sub(r"\\\n|(?<=\|\|)\s*\n", " ", text)
    found = []
    for line in text.split("\n"):
        if not line.lstrip().startswith("#"):
            found.extend(re.split(r";|&&", line))
    return [command.strip() for command in found if command.strip()]


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for at, word in enumerate(words):
        if skip:
            skip = False
        elif word in (">", "&>", "2>", "1>") and words[at + 1 : at + 2] == ["/dev/null"]:
            skip = True
        elif word not in ("2>&1", "2>/dev/null", ">/dev/null", "&>/dev/null"):
            kept.append(word)
    return kept


def _sum(text: str) -> int:
    """A sum of products, as in `$((15*1024*1024))`."""
    total = 0
    for term in text.split("+"):
        product = 1
        for factor in term.split("*"):
            product *= int(factor)
        total += product
    return total
