"""A user's own congestion control: the text of a Python file -> a class for `Parameters.controls`.

Whatever such a control does wrong while it runs is the failure of the connection it was to control, and of nothing
else: `failure` of its base says what, and the connection ends with ECONNABORTED. Not compiled.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Final

from nodes.base.errors import InvalidArgument
from nodes.tcp.congestion import CONTROLS
from nodes.tcp.congestion.base import Ack, CongestionControl

MAX_BYTES: Final = 256 << 10
MAX_FILES: Final = 16
FILE_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,58}\.py"
FILE_WORDS: Final = "the name of a Python file, such as mine.py"
#: As in Linux (TCP_CA_NAME_MAX).
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}")
_MOST: Final = 1 << 62

#: What the stack calls; each is given an Ack or the instant first.
METHODS: Final = (
    "on_ack",
    "ssthresh_after_loss",
    "on_every_ack",
    "on_segment_lost",
    "on_restart",
    "on_loss",
    "on_recovered",
    "on_mark",
    "on_congestion",
    "on_timeout",
    "on_undo",
    "on_idle",
    "on_mss_change",
    "on_fast_retransmit",
    "on_duplicate_ack",
    "on_partial_ack",
    "on_recovery_exit",
)


def load_controls(files: Mapping[str, str]) -> dict[str, type[CongestionControl]]:
    """The congestion control of each file (name -> text), by its own name. This runs the files.

    Raises InvalidArgument naming the file, and the line where there is one.
    """
    if len(files) > MAX_FILES:
        raise InvalidArgument(f"{len(files)} files; {MAX_FILES} are allowed")
    controls: dict[str, type[CongestionControl]] = {}
    for file, text in files.items():
        control = load_control(file, text)
        if control.name in controls:
            raise InvalidArgument(f"{file}: another file has a congestion control {control.name!r} too")
        controls[control.name] = control
    return controls


def load_control(file: str, text: str) -> type[CongestionControl]:
    """The one congestion control in the text of a file, so that its faults are those of its connection."""
    if not re.fullmatch(FILE_PATTERN, file):
        raise InvalidArgument(f"{file[:80]!r} is not {FILE_WORDS}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidArgument(f"{file}: larger than {MAX_BYTES} bytes")
    module = types.ModuleType(f"tcplab congestion control {file}")
    module.__file__ = file
    try:
        exec(compile(text.removeprefix("\ufeff"), file, "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        raise InvalidArgument(f"{file}:{error.lineno or 1}: not Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise InvalidArgument(f"{_place(error, file)}: {_words(error)}") from None
    found = [
        one
        for one in module.__dict__.values()
        if isinstance(one, type)
        and issubclass(one, CongestionControl)
        and one.__module__ == module.__name__
        and one.__dict__.get("name")
    ]
    found = list(dict.fromkeys(found))
    if len(found) != 1:
        which = ", ".join(one.__name__ for one in found) or "there is none"
        raise InvalidArgument(
            f"{file}: one class derived from nodes.tcp.congestion.base.CongestionControl, with a `name`, is needed; "
            f"found: {which}"
        )
    (control,) = found
    if not isinstance(control.name, str) or not _NAME.fullmatch(control.name):
        raise InvalidArgument(
            f"{file}: name: {control.name!r:.80} is not allowed; a letter, then letters, digits, _ - (15 at most) are"
        )
    if control.name in CONTROLS:
        raise InvalidArgument(f"{file}: name: {control.name!r} is a built-in congestion control; give it another")
    if control.on_ack is CongestionControl.on_ack:
        raise InvalidArgument(f"{file}: {control.__name__} has no on_ack(self, ack), where the window grows")
    return _guarded(control, file)


def _guarded(control: type[CongestionControl], file: str) -> type[CongestionControl]:
    """The class with a look after every call: an exception, or a window that is none, is a failure. After one the
    user's methods are not called any more."""

    def __init__(self: Any, mss: int, initial_window: int, abc_limit: int) -> None:
        self._failure = ""
        self._on_failure = None
        self._segment = mss
        try:
            control.__init__(self, mss, initial_window, abc_limit)
            _check(self)
        except (Exception, SystemExit) as error:
            _fail(self, 0, error, file)

    def watch(self: Any, now: int, on_failure: Callable[[int], None]) -> None:
        self._on_failure = on_failure
        if self._failure:
            on_failure(now)

    members: dict[str, Any] = {
        "__init__": __init__,
        "__module__": control.__module__,
        "__doc__": control.__doc__,
        "watch": watch,
        "failure": lambda self: self._failure,
        **{method: _watched(getattr(control, method), method, file) for method in METHODS},
    }
    return type(control.__name__, (control,), members)


def _watched(method: Callable[..., Any], name: str, file: str) -> Callable[..., Any]:
    whole = name == "ssthresh_after_loss"
    yes_or_no = name == "on_partial_ack"

    def call(self: Any, *arguments: Any) -> Any:
        if not self._failure:
            try:
                result = method(self, *arguments)
                _check(self)
                if whole:
                    _check_size(f"what {name} returns", result)
                return bool(result) if yes_or_no else result
            except (Exception, SystemExit) as error:
                first = arguments[0]
                _fail(self, first.now if isinstance(first, Ack) else first, error, file)
        return CongestionControl.ssthresh_after_loss(self, *arguments) if whole else True if yes_or_no else None

    return call


def _check(control: CongestionControl) -> None:
    _check_size("cwnd", control.cwnd)
    _check_size("ssthresh", control.ssthresh)
    _check_size("pacing_rate", control.pacing_rate)
    _check_size("mss", control.mss)


def _check_size(name: str, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r:.40}; a whole number is needed: // divides, round() rounds")
    if not 0 <= value <= _MOST:
        raise ValueError(f"{name} is {value!r:.40}; 0 and more is allowed")


def _fail(control: Any, now: int, error: BaseException, file: str) -> None:
    """Keep what went wrong, and have sane windows for what little is still to come."""
    control._failure = f"{_place(error, file)}: {_words(error)}"
    CongestionControl.__init__(control, control._segment, control._segment, 1)
    control.ssthresh = 2 * control._segment
    if control._on_failure is not None:
        control._on_failure(now)


def _place(error: BaseException, file: str) -> str:
    """`mine.py:12`: the last line of the user's file on the way to an exception."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{file}:{line}" if line else file


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:  # its own __str__ fails
        return type(error).__name__
