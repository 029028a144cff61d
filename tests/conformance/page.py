"""docs/conformance.md, made of the requirements and of the marks in the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .requirements import RFCS, Requirement

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "conformance.md"

_HEAD: Final = """# What of the RFCs it does

Made by `python -m tests.conformance` from `tests/conformance/requirements.py` and from the marks
`@pytest.mark.rfc("9293", "MUST-12")` in the tests; a test says when it is not current. A requirement is *done* when
tests show it, and they are named; otherwise it says why it is deliberately not. What else this TCP does (RFC 2883,
3042, 3168, 3465, 5482, 5682, 5927, 6093, 6191, 6528, 6582, 6928, 6937, 7413 ...) is cited where it is done.

"""


class Mark(NamedTuple):
    """A test that shows a requirement."""

    rfc: str
    number: str
    test: str


def marks(root: Path = ROOT) -> list[Mark]:
    """The marks of all tests, in the order of files and lines."""
    found = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        text = path.read_text()
        if "mark.rfc(" not in text:
            continue
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found += [Mark(rfc, number, f"{name}::{node.name}") for rfc, number in _of(node.decorator_list)]
    return found


def _of(decorators: list[ast.expr]) -> Iterator[tuple[str, str]]:
    for decorator in decorators:
        for call in ast.walk(decorator):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.rfc":
                rfc, *numbers = [ast.literal_eval(argument) for argument in call.args]
                yield from ((rfc, number) for number in numbers)


def problems(found: list[Mark]) -> list[str]:
    """Marks of what is no requirement, requirements with neither test nor reason, or with both."""
    known = {(rfc, one.number): one for rfc, (_, requirements) in RFCS.items() for one in requirements}
    tested = {(mark.rfc, mark.number) for mark in found}
    wrong = [f"{mark.test}: RFC {mark.rfc} {mark.number} is no requirement" for mark in found if mark[:2] not in known]
    wrong += [
        f"RFC {rfc} {number}: no test, no reason"
        for (rfc, number), one in known.items()
        if not one.not_done and (rfc, number) not in tested
    ]
    wrong += [
        f"RFC {rfc} {number}: tested, and not done"
        for (rfc, number), one in known.items()
        if one.not_done and (rfc, number) in tested
    ]
    return wrong


def page(found: list[Mark]) -> str:
    """The text of docs/conformance.md."""
    lines = [_HEAD, "| RFC | | MUST | SHOULD |\n| --- | --- | --- | --- |\n"]
    for rfc, (title, requirements) in RFCS.items():
        lines.append(
            f"| [{rfc}](#rfc-{rfc}) | {title} | {_share(requirements, 'MUST')} | {_share(requirements, 'SHOULD')} |\n"
        )
    tests: dict[tuple[str, str], list[str]] = {}
    for mark in found:
        tests.setdefault((mark.rfc, mark.number), []).append(mark.test)
    for rfc, (title, requirements) in RFCS.items():
        lines.append(f"\n## RFC {rfc}\n\n{title}.\n\n| | | asks | |\n| --- | --- | --- | --- |\n")
        lines += [_row(one, tests.get((rfc, one.number), [])) for one in requirements]
    return "".join(lines)


def _share(requirements: tuple[Requirement, ...], level: str) -> str:
    of_level = [one for one in requirements if one.level == level]
    return f"{sum(not one.not_done for one in of_level)} of {len(of_level)}" if of_level else ""


def _row(one: Requirement, tests: list[str]) -> str:
    where = ", ".join(_link(test) for test in tests)
    number = one.number if one.number.startswith(one.section) else f"{one.number} ({one.section})"
    return f"| {number} | {one.level} | {one.words} | {f'not: {one.not_done}' if one.not_done else where} |\n"


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_')}](../{path})"
