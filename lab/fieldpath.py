"""Places in a YAML value by their path, such as `links[0].loss`: of an error's place, and of `--set`."""

from __future__ import annotations

import re
from typing import Final, cast

from lab.kinds import nearest
from lab.yamltext import Value, read_text, shown
from nodes.base.errors import InvalidArgument

_STEP: Final = re.compile(r"[^.\[\]]+|\[[0-9]+\]")


def at(value: Value, path: str) -> Value:
    """The value at a field path such as `links[0].loss`, or the nearest one above it."""
    for step in _STEP.findall(path):
        try:
            value = _step(value, step, path)
        except InvalidArgument:
            break
    return value


def override(value: Value, path: str, text: str) -> None:
    """Set `links[0].loss` (a path) to YAML text, in place: what `--set` does.

    The last key may be new; the way to it must exist.
    """
    steps = _STEP.findall(path)
    if not steps or "".join(step if step[0] == "[" else "." + step for step in steps).lstrip(".") != path:
        raise InvalidArgument(f"{shown(path)} is not a field path such as links[0].loss", path)
    new = read_text(text, f"--set {path}")
    for step in steps[:-1]:
        value = _step(value, step, path)
    last = steps[-1]
    if last[0] == "[":
        _step(value, last, path)
        value.data[int(last[1:-1])] = new
    elif isinstance(value.data, dict):
        value.data[last] = new
    else:
        raise InvalidArgument(f"{path}: {shown(value)} has no fields", path)


def _step(value: Value, step: str, path: str) -> Value:
    data = value.data
    if step[0] == "[":
        if isinstance(data, list) and int(step[1:-1]) < len(data):
            return cast(Value, data[int(step[1:-1])])
    elif isinstance(data, dict) and step in data:
        return cast(Value, data[step])
    raise InvalidArgument(f"{path}: there is no {step}{nearest(step, data) if isinstance(data, dict) else ''}", path)
