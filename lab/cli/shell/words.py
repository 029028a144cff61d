"""`Shell`: Mininet's words for a running lab. What they print is what Mininet's print, as scripts compare it."""

from __future__ import annotations

import contextlib
import string
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from lab.cli.shell import measure
from lab.cli.shell.network import SWITCH, Network, Port
from lab.cli.shell.ours import OurWords, seconds
from lab.cli.shell.programs import Programs
from lab.cli.shell.virtual import VirtualPrograms
from nodes.base.errors import InvalidArgument, NotFound, TcplabError, Unsupported
from tcplab.client import Lab, errors
from tcplab.client.values import nanoseconds, rate

#: Seconds to wait for an answer, of lab time.
_TIMEOUT: Final = "5"
_CLASSES: Final = {"host": "Host", "router": "Router", "linux": "LinuxHost", SWITCH: "Switch"}
#: Words of Mininet that have no place here, and what does instead.
_INSTEAD: Final = {
    "xterm": "open another terminal and type `tcplab shell {lab}`; `h1 COMMAND` runs there as it does here",
    "gterm": "open another terminal and type `tcplab shell {lab}`; `h1 COMMAND` runs there as it does here",
    "x": "open another terminal and type `tcplab shell {lab}`; `h1 COMMAND` runs there as it does here",
    "dpctl": "switches here learn addresses and have no flow tables; `events s1` and `link show` say what they carry",
    "switch": "`link h1 s1 down` takes the links of a switch down, one by one",
    "ports": "`net` shows the ports of switches, too",
    "wait": "a lab is ready when `tcplab up` returns; `sleep TIME` lets lab time pass",
}
_INTRO: Final = "*** {lab} on {backend}: {nodes} nodes, {links} links. `help` lists the words, Ctrl-D ends.\n"
_HELP: Final = """
A node's name, then a command: it is run on that node, and names of nodes in it become their addresses:
  tcplab> h2 python3 -m http.server 80 &
  tcplab> h1 curl h2
In virtual time (backend sim) nodes run no programs; ping, ifconfig and ss are there, and the words above do the rest.
"""


class Shell(OurWords):
    """The command line of a lab. `failed` says whether something could not be done.

    It reads lines of standard input (`read`), or from a terminal (`interact`).
    """

    prompt = "tcplab> "
    identchars = string.ascii_letters + string.digits + "_.-"
    doc_header = "Words (help WORD):"
    undoc_header = ""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.network = Network(lab)
        self.failed = False
        self._interactive = False
        self._programs: Programs | None = None
        self._virtual = None if lab.real_time else VirtualPrograms(self.network)
        self._sources: list[Path] = []
        self._locals: dict[str, Any] | None = None

    # Reading.

    def interact(self) -> None:
        """Read from the terminal until the end."""
        self._interactive = True
        info = self.lab.info()
        size = {"nodes": len(self.network.kinds), "links": len(self.network.wires)}
        intro = _INTRO.format(lab=self.lab.name, backend=info.backend, **size)
        while True:
            try:
                self.cmdloop(intro)
                return
            except KeyboardInterrupt:
                intro = ""
                print()

    def read(self, lines: Iterable[str]) -> None:
        """Do what each line says, until one says exit."""
        for line in lines:
            if self.do(line):
                return

    def do(self, line: str) -> bool:
        """Do what a line says; whether it says exit. Comments begin with #."""
        line = line.strip()
        return not line.startswith("#") and self.onecmd(line)

    def close(self) -> None:
        """End what runs on nodes."""
        if self._programs is not None:
            self._programs.close()

    # How Cmd does it.

    def onecmd(self, line: str) -> bool:
        """One line; what cannot be done is said."""
        try:
            return bool(super().onecmd(line))
        except (errors.Error, TcplabError) as error:
            self._wrong(str(error))
        except OSError as error:
            self._wrong(f"{error.filename or 'error'}: {error.strerror or error}")
        finally:
            sys.stdout.flush()
        return False

    def parseline(self, line: str) -> tuple[str | None, str | None, str]:
        """`?` and `!` mean nothing here."""
        line = line.strip()
        word, _, rest = line.partition(" ")
        if not word or not set(word) <= set(self.identchars):
            return None, None, line
        return word, rest.strip(), line

    def emptyline(self) -> bool:
        """Nothing is done again."""
        return False

    def default(self, line: str) -> None:
        """A node's command, or no word at all."""
        node, _, command = line.partition(" ")
        if node in _INSTEAD:
            raise Unsupported(f"{node}: {_INSTEAD[node].format(lab=self.lab.name)}")
        if node not in self.network.kinds:
            raise NotFound(f"Unknown command: {line}")
        command = command.strip()
        if not command:
            raise InvalidArgument(f"Please enter a command for node: {node} <cmd>", "command")
        for piece in self._run(node, command):
            sys.stdout.flush()
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()

    def _run(self, node: str, command: str) -> Iterator[bytes]:
        if self.network.kinds[node] == SWITCH:
            raise Unsupported(f"{node} is a switch: it runs no programs; `link show` says what its links do")
        # Mininet's users call interfaces h1-eth0, which on the node is eth0.
        ports = {str(port): port.name for port in self.network.ports(node)}
        words = [self.network.address(word) or ports.get(word, word) for word in command.split(" ")]
        if self._virtual is not None:
            self._virtual.run(node, " ".join(words))
            return iter(())
        if self._programs is None:
            self._programs = Programs(self.lab, self._interactive)
        return self._programs.run(node, " ".join(words))

    def _wrong(self, message: str) -> None:
        self.failed = True
        sys.stdout.flush()
        print(f"*** {' '.join(message.split())}", file=sys.stderr, flush=True)

    # Completion.

    def completenames(self, text: str, *_: Any) -> list[str]:
        """Words and nodes."""
        words = [name[3:] for name in self.get_names() if name.startswith("do_")]
        return sorted(f"{one} " for one in (*words, *self.network.kinds) if one.startswith(text))

    def completedefault(self, text: str, *_: Any) -> list[str]:
        """Nodes."""
        return sorted(f"{one} " for one in self.network.kinds if one.startswith(text))

    def complete_link(self, text: str, *_: Any) -> list[str]:
        """Nodes, links and what can be done with links."""
        words = (*self.network.kinds, *(wire.name for wire in self.network.wires), "show", "set", "reset", "up", "down")
        return sorted(f"{one} " for one in words if one.startswith(text))

    def complete_capture(self, text: str, *_: Any) -> list[str]:
        """Interfaces."""
        return sorted(f"{port} " for node in self.network.kinds for port in self._named(node) if port.startswith(text))

    def _named(self, node: str) -> list[str]:
        return [str(port) for port in self.network.ports(node)]

    # Mininet's words.

    def do_help(self, arg: str) -> None:
        """List the words, or say what one does.
        Usage: help [WORD]"""
        if arg in _INSTEAD:
            print(f"{arg}: {_INSTEAD[arg].format(lab=self.lab.name)}")
            return
        super().do_help(arg)
        if not arg:
            print(_HELP.strip())

    def do_nodes(self, _: str) -> None:
        """List all nodes."""
        print(f"available nodes are: \n{' '.join(sorted(self.network.kinds))}")

    def do_net(self, _: str) -> None:
        """List network connections."""
        for node in self.network.kinds:
            joined = (f"{port}:{self.network.peer(port)}" for port in self.network.ports(node))
            print(" ".join((node, *joined)))

    def do_links(self, _: str) -> None:
        """Report on links."""
        for wire in self.network.wires:
            state = "OK" if self.lab.link(wire.name).info().up else "DOWN"
            print(f"{wire.a}<->{wire.b} ({state} {state}) ")

    def do_intfs(self, _: str) -> None:
        """List interfaces."""
        for node in self.network.kinds:
            print(f"{node}: {','.join(self._named(node))}")

    def do_dump(self, _: str) -> None:
        """Dump node info."""
        for node, kind in self.network.kinds.items():
            ports = ",".join(f"{port}:{self._address(port)}" for port in self.network.ports(node))
            print(f"<{_CLASSES.get(kind, kind)} {node}: {ports}> ")

    def _address(self, port: Port) -> str:
        info = self.network.infos.get(port.node)
        found = [one.address for one in info.interfaces if one.name == port.name] if info is not None else []
        return (found[0] if found else "") or "None"

    def do_pingall(self, line: str) -> None:
        """Ping between all hosts; an answer may take five seconds, or what you say.
        Usage: pingall [SECONDS]"""
        self._ping(self.network.hosts, line, full=False, headed=True)

    def do_pingallfull(self, line: str) -> None:
        """Ping between all hosts, prints all ping results.
        Usage: pingallfull [SECONDS]"""
        self._ping(self.network.hosts, line, full=True, headed=True)

    def do_pingpair(self, line: str) -> None:
        """Ping between first two hosts, useful for testing."""
        self._ping(self._pair(), line, full=False, headed=False)

    def do_pingpairfull(self, line: str) -> None:
        """Ping between first two hosts, prints all ping results."""
        self._ping(self._pair(), line, full=True, headed=False)

    def _ping(self, hosts: list[str], line: str, *, full: bool, headed: bool) -> None:
        timeout = seconds(line.strip() or _TIMEOUT)
        nanoseconds(timeout, "ping")
        if headed:
            print("*** Ping: testing ping reachability")
        measure.ping_all(self.network, hosts, timeout, full)

    def do_iperf(self, line: str) -> None:
        """TCP throughput between two hosts, first and last if not said: five seconds of lab time.
        Usage: iperf [h1 h2]"""
        client, server = self._ends(line.split(), "iperf [h1 h2]")
        print(f"*** Iperf: testing TCP bandwidth between {client} and {server} ", flush=True)
        print(f"*** Results: {measure.iperf(self.lab, client, server)}")

    def do_iperfudp(self, line: str) -> None:
        """UDP throughput between two hosts, first and last if not said, at 10M (bit/s) if not said.
        Usage: iperfudp [BANDWIDTH h1 h2]"""
        words = line.split()
        client, server = self._ends(words[1:], "iperfudp [BANDWIDTH h1 h2]")
        wanted = words[0] if words else "10M"
        bits = rate(f"{wanted}bit" if wanted[-1:].lower() in "kmg" else wanted)
        print(f"*** Iperf: testing UDP bandwidth between {client} and {server} ", flush=True)
        print(f"*** Results: {[wanted, *measure.iperf_udp(self.lab, client, server, bits)]}")

    def _ends(self, names: list[str], usage: str) -> tuple[str, str]:
        if not names:
            hosts = self._pair()
            return hosts[0], self.network.hosts[-1]
        for name in names:
            if name not in self.network.infos:
                raise NotFound(f"node '{name}' not in network")
        if len(names) != 2:
            raise InvalidArgument(f"invalid number of args: {usage}", "iperf")
        return names[0], names[1]

    def _pair(self) -> list[str]:
        hosts = self.network.hosts
        if len(hosts) < 2:
            raise Unsupported(f"two hosts are needed; there {'is one' if hosts else 'are none'}")
        return hosts[:2]

    def do_link(self, line: str) -> None:
        """Bring link(s) between two nodes up or down; show links, change what they do to packets, or undo that.
        Usage: link NODE1 NODE2 up|down
               link show [LINK...]
               link set LINK|h1->r1 delay 10ms jitter 2ms loss 1% rate 5mbit limit 50 queue droptail ...
               link reset [LINK...]"""
        words = line.split()
        verb = {"show": self.link_show, "set": self.link_set, "reset": self.link_reset}.get(words[0] if words else "")
        if verb is not None and words[0] not in self.network.kinds:
            verb(words[1:])
        elif len(words) != 3:
            raise InvalidArgument("invalid number of args: link end1 end2 [up down], or link show|set|reset", "link")
        elif words[2] not in ("up", "down"):
            raise InvalidArgument("invalid type: link end1 end2 [up down]", "link")
        else:
            for wire in self.network.between(words[0], words[1]):
                self.lab.link(wire.name).update(up=words[2] == "up")

    def do_sh(self, line: str) -> None:
        """Run a command of this machine, not of a node.
        Usage: sh COMMAND"""
        sys.stdout.flush()
        subprocess.run(line, shell=True, check=False)

    def do_py(self, line: str) -> None:
        """Evaluate a Python expression; `lab` is the lab (tcplab.client), h1 a node: h1.cmd('ls'), h1.IP() ...
        Usage: py EXPRESSION"""
        with self._telling():
            result = eval(line, self._names())
            if result is not None and result != "":
                print(result if isinstance(result, str) else repr(result))

    def do_px(self, line: str) -> None:
        """Execute a Python statement, with the names that py has.
        Usage: px STATEMENT"""
        with self._telling():
            exec(line, self._names())

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """An exception of the user's code is said, and no more."""
        try:
            yield
        except Exception as error:
            self._wrong(f"{type(error).__name__}: {error}")

    def _names(self) -> dict[str, Any]:
        if self._locals is None:
            self._locals = {"lab": self.lab, "net": self.lab}
            self._locals.update((name, Face(self, name)) for name in self.network.infos if name.isidentifier())
        return self._locals

    def do_source(self, line: str) -> None:
        """Do what the lines of a file say.
        Usage: source FILE"""
        if not line.strip():
            raise InvalidArgument("usage: source <file>", "source")
        path = Path(line.strip()).resolve()
        if path in self._sources:
            raise InvalidArgument(f"source: {path.name} sources itself", "source")
        lines = path.read_text("utf-8").splitlines()
        self._sources.append(path)
        try:
            self.read(lines)
        finally:
            self._sources.pop()

    def do_time(self, line: str) -> None:
        """Measure time taken for any command: lab time where it is virtual.
        Usage: time COMMAND"""
        began = self._clock()
        self.onecmd(line)
        print(f"*** Elapsed time: {(self._clock() - began) / 1e9:.6f} secs")

    def _clock(self) -> int:
        return time.monotonic_ns() if self.lab.real_time else self.lab.now_ns()

    def do_noecho(self, line: str) -> None:
        """Run an interactive command with echoing turned off.
        Usage: noecho COMMAND"""
        if not self._interactive:
            self.default(line)
            return
        import termios

        before = termios.tcgetattr(0)
        quiet = [*before]
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSADRAIN, quiet)
        try:
            self.default(line)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)

    def do_exit(self, _: str) -> bool:
        """Exit; the lab goes on, programs started here do not."""
        return True

    do_quit = do_exit

    def do_EOF(self, _: str) -> bool:
        """Exit."""
        print()
        return True


class Face:
    """A node for `py`: Mininet's cmd, IP, MAC, and all that a node of tcplab.client has."""

    def __init__(self, shell: Shell, name: str) -> None:
        self._shell = shell
        self._node = shell.lab.node(name)

    def cmd(self, command: str) -> str:
        """Run a command on it; what it says."""
        return b"".join(self._shell._run(self._node.name, command)).decode("utf-8", "replace")

    def IP(self) -> str:
        """Its first address."""
        return self._node.address()

    def MAC(self) -> str:
        """Of its first interface."""
        return self._node.info().interfaces[0].mac

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def __repr__(self) -> str:
        return repr(self._node)
