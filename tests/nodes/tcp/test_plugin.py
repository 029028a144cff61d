"""A user's own congestion control: what is taken, what is refused, and what becomes of one that fails."""

from __future__ import annotations

import pytest

from nodes.base import causes
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.tcp import ACK
from nodes.tcp import states
from nodes.tcp.congestion.plugin import MAX_BYTES, METHODS, load_control, load_controls

from . import scenes
from .harness import Host

HEAD = "from nodes.tcp.congestion.base import Ack, CongestionControl\n"
GOOD = HEAD + "class Mine(CongestionControl):\n    name = 'mine'\n    def on_ack(self, ack):\n        self.cwnd += 7\n"


def control(body: str, name: str = "mine") -> str:
    """A file with a control whose methods are `body`."""
    return HEAD + f"class Mine(CongestionControl):\n    name = '{name}'\n" + body


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Mine(:\n", r"mine\.py:1: not Python: "),
        ("\n\n1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", r"mine\.py:1: ModuleNotFoundError: "),
        ("raise SystemExit(3)\n", r"mine\.py:1: SystemExit: 3"),
        ("", "one class derived from .*CongestionControl.*; found: there is none"),
        (HEAD, "there is none"),  # what is imported is not the user's
        ("from nodes.tcp.congestion.reno import Reno\n", "there is none"),
        (GOOD + GOOD.replace("Mine", "Other").replace("'mine'", "'other'"), "found: Mine, Other"),
        (GOOD.replace("'mine'", "'cubic'"), "'cubic' is a built-in"),
        (GOOD.replace("'mine'", "'no spaces'"), "name: 'no spaces' is not allowed; a letter"),
        (GOOD.replace("'mine'", "7"), "name: 7 is not allowed"),
        (control("    pass\n"), r"Mine has no on_ack\(self, ack\)"),
        ("#" * (MAX_BYTES + 1), "larger than 262144 bytes"),
        ("\0", "mine.py"),
    ],
)
def test_what_is_no_control_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        load_control("mine.py", text)


def test_names_of_files_and_controls() -> None:
    assert list(load_controls({"a.py": GOOD, "b.py": GOOD.replace("'mine'", "'other'")})) == ["mine", "other"]
    with pytest.raises(InvalidArgument, match=r"b\.py: another file has a congestion control 'mine' too"):
        load_controls({"a.py": GOOD, "b.py": GOOD})
    for name in ("../mine.py", "mine.txt", "/mine.py", ""):
        with pytest.raises(InvalidArgument, match="is not the name of a Python file"):
            load_control(name, GOOD)
    with pytest.raises(InvalidArgument, match="17 files; 16 are allowed"):
        load_controls({f"m{n}.py": GOOD for n in range(17)})


def test_a_helper_without_a_name_may_be_beside_it() -> None:
    text = HEAD + "class Base(CongestionControl):\n    pass\n" + GOOD.replace("(CongestionControl)", "(Base)")
    assert load_control("mine.py", text).name == "mine"


def run(text: str, name: str = "mine") -> scenes.Scene:
    """A connection in ESTABLISHED with this control."""
    host = Host()
    host.parameters.controls[name] = load_control("mine.py", text)
    return scenes.established(host, TCP_CONGESTION=name)


def test_it_is_what_the_connection_uses() -> None:
    host, c, peer, _, _ = run(GOOD)
    before = c.congestion.cwnd
    c.send(host.now, bytes(20 * c.mss))
    peer.send(ACK, 1, 1 + 2 * c.mss)
    assert c.congestion.cwnd == before + 7
    assert c.status(host.now).congestion == "mine"
    assert c.congestion.failure() == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    def on_ack(self, ack):\n        ack.nothing\n", "mine.py:5: AttributeError"),
        ("    def on_ack(self, ack):\n        self.cwnd //= 0\n", "mine.py:5: ZeroDivisionError"),
        ("    def on_ack(self, ack):\n        self.cwnd = -1\n", "ValueError: cwnd is -1; 0 and more is allowed"),
        ("    def on_ack(self, ack):\n        self.cwnd = self.cwnd / 2\n", "TypeError: "),
        ("    def on_ack(self, ack):\n        raise SystemExit\n", "mine.py:5: SystemExit"),
        ("    def on_ack(self, ack):\n        return self.on_ack(ack)\n", "RecursionError"),
        (
            "    def on_every_ack(self, ack):\n        self.pacing_rate = -5\n    on_ack = on_every_ack\n",
            "ValueError: pacing_rate is -5",
        ),
    ],
)
def test_a_failure_is_the_connections(body: str, words: str) -> None:
    host, c, peer, _, _ = run(control(body))
    c.send(host.now, bytes(20 * c.mss))
    peer.got()
    peer.send(ACK, 1, 1 + 2 * c.mss)
    host.run_until(host.now)  # as soon as that is done
    assert c.state == states.CLOSED
    with pytest.raises(SocketError, match=f"ECONNABORTED: congestion control failed: .*{words}"):
        c.receive(host.now, 1)
    (error,) = host.sink.of("error")
    (failed,) = host.sink.of("control")
    assert error["cause"] == causes.ERROR_CONTROL_FAILED
    assert words.partition(":")[0] in host.sink.text(failed["why"])
    assert host.sink.text(failed["control"]) == "mine"
    assert peer.got()[-1].startswith("R. ")
    # The host goes on.
    host.take()
    other = scenes.established(host)[1]
    other.send(host.now, b"x")
    assert other.state == states.ESTABLISHED


def test_one_that_fails_when_it_is_made() -> None:
    """By the handshake, and by TCP_CONGESTION on a running connection."""
    text = control(
        "    def __init__(self, *arguments):\n        raise KeyError('no')\n    def on_ack(self, ack):\n        pass\n"
    )
    host, c, _, _, _ = run(text)
    host.run_until(host.now)
    assert (c.state, c.error) == (states.CLOSED, "ECONNABORTED")
    host.take()
    second = scenes.established(host)[1]
    second.set_option(host.now, "TCP_CONGESTION", "mine")
    host.run_until(host.now)
    assert (second.state, second.error) == (states.CLOSED, "ECONNABORTED")


def test_forgetting_the_base_is_a_failure() -> None:
    text = control("    def __init__(self, *arguments):\n        pass\n    def on_ack(self, ack):\n        pass\n")
    host, c, _, _, _ = run(text)
    host.run_until(host.now)
    assert (c.state, c.error) == (states.CLOSED, "ECONNABORTED")


@pytest.mark.parametrize("method", METHODS)
def test_every_call_of_the_stack_is_watched(method: str) -> None:
    """Whatever raises says so in `failure`, and the stack gets an answer of the right kind."""
    extra = "" if method == "on_ack" else "    def on_ack(self, ack):\n        pass\n"
    made = load_control("mine.py", control(f"{extra}    def {method}(self, *arguments):\n        raise OSError(5)\n"))
    one = made(1000, 10_000, 1)
    arguments = {
        **dict.fromkeys(("on_ack", "on_every_ack", "on_recovered", "on_duplicate_ack"), (1,)),
        "on_timeout": (1, 5000, True),
        "on_mark": (1, 5000, True),
        "on_undo": (1, 5000, 5000),
    }.get(method, (1, 5000))
    told: list[int] = []
    one.watch(0, told.append)
    answer = getattr(one, method)(*arguments)
    assert "OSError: 5" in one.failure()
    assert told == [1]
    assert 0 < one.cwnd <= 10_000
    kind = {"ssthresh_after_loss": int, "on_partial_ack": bool}.get(method, type(None))
    assert type(answer) is kind
