"""Reading of spec files: exact units; errors with file, line, field, value and what is allowed; hostile text."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import fieldpath, spec, units
from lab.yamltext import MAX_BYTES
from nodes.base.errors import InvalidArgument, NotFound
from nodes.base.random import CHANCE_ONE


@dataclass(frozen=True)
class Drop:
    """Drop it."""


@dataclass(frozen=True)
class Wait:
    """Wait."""

    short: ClassVar[str] = "time_ns"
    time_ns: int = spec.duration()


@dataclass(frozen=True)
class Shape:
    """A part."""

    loss: int = spec.chance(default=0)
    rate_bps: int = spec.rate(default=0)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing."""

    ends: tuple[str, ...]
    delay_ns: int = spec.duration(default=0)
    limit_bytes: int = spec.size(default=1024)
    count: int = spec.number(default=1, minimum=1, maximum=10)
    colour: str = spec.choice(("red", "blue"), default="red")
    on: bool = False
    note: str | None = None
    weights: dict[str, int] = spec.of(spec.Map(spec.Integer()), default={})
    shape: dict[str, int] = spec.partial(Shape, flat=True)
    action: Drop | Wait | None = spec.one_of("action", {"drop": Drop, "wait": Wait}, default=None, flat=True)


@dataclass(frozen=True)
class Things:
    """Things."""

    things: tuple[Thing, ...] = ()


FULL = """
things:
  - ends: [a, b]
    delay: 1.5ms
    limit: 64kb
    count: 3
    colour: blue
    on: true
    note: "yes"
    weights: {x: 1, y: 2}
    loss: 1%
    wait: 2h
  - {ends: [c], drop: }
"""


def test_every_kind_of_field_is_read() -> None:
    first, second = spec.load(Things, FULL).things
    assert first == Thing(
        ends=("a", "b"),
        delay_ns=1_500_000,
        limit_bytes=65536,
        count=3,
        colour="blue",
        on=True,
        note="yes",
        weights={"x": 1, "y": 2},
        shape={"loss": CHANCE_ONE // 100},
        action=Wait(7200 * 10**9),
    )
    assert second == Thing(ends=("c",), action=Drop())


def test_what_is_written_reads_back_the_same() -> None:
    things = spec.load(Things, FULL)
    written = spec.plain(things)
    assert written["things"][0]["delay"] == "1.5ms"
    assert written["things"][0]["loss"] == "1%"
    assert spec.from_mapping(Things, written) == things


def test_the_schema_accepts_what_is_read_and_refuses_what_is_not() -> None:
    schema = spec.schema(Things)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(spec.plain(spec.load(Things, FULL)))
    wrongs: tuple[Any, ...] = (
        {"things": [{}]},
        {"things": [{"ends": ["a"], "los": 1}]},
        {"things": [{"ends": ["a"], "count": 11}]},
        {"things": [{"ends": ["a"], "colour": "green"}]},
        {"things": [{"ends": ["a"], "loss": "much"}]},
    )
    for wrong in wrongs:
        assert not validator.is_valid(wrong)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("things:\n- ends: [a]\n  loss: 140%", "lab.yaml:3: things[0].loss: 140% is not a chance: 0% to 100%"),
        ("things:\n- ends: [a]\n  loss: 1.5", "lab.yaml:3: things[0].loss: 1.5 is not a chance"),
        (
            "things:\n- ends: [a]\n  delay: -1ms",
            "lab.yaml:3: things[0].delay: -1ms is not a duration: it must not be neg",
        ),
        ("things:\n- ends: [a]\n  delay: 10", "lab.yaml:3: things[0].delay: 10 is not a duration: it needs a unit"),
        ("things:\n- ends: [a]\n  delay: 10 parsecs", "unit 'parsecs' is not one of ns"),
        ("things:\n- ends: [a]\n  delay: 0.1ns", "finer than one nanosecond"),
        ("things:\n- ends: [a]\n  rate: 5mbps", "unit 'mbps' is not one of bit, kbit"),
        ("things:\n- ends: [a]\n  dealy: 1ms", "lab.yaml:3: things[0].dealy: unknown field; did you mean delay?"),
        ("things:\n- ends: [a]\n  count: 11", "lab.yaml:3: things[0].count: 11 is not a whole number in 1 to 10"),
        ("things:\n- ends: [a]\n  count: true", "true is not a whole number"),
        ("things:\n- ends: [a]\n  colour: blu", "blu is not one of red, blue; did you mean blue?"),
        ("things:\n- ends: [a]\n  on: 1", "1 is not true or false"),
        ("things:\n- ends: [a]\n  weights: {1x: 2}", "1x is not a name"),
        ("things:\n- ends: [a]\n  drop:\n  wait: 1s", "lab.yaml:4: things[0]: wait beside another action"),
        ("things:\n- ends: [a]\n  wait:", "things[0].wait.time: is missing"),
        ("things:\n- delay: 1ms", "lab.yaml:2: things[0].ends: is missing"),
        ("things: 3", "lab.yaml:1: things: 3 is not a list"),
        ("- 3", "lab.yaml:1: a list is not a mapping"),
        ("things: []\nthings: []", "lab.yaml:2: things: given twice, first on line 1"),
        ("things: [", "lab.yaml:"),
        ("things: !!python/object/apply:os.system [ls]", "tag "),
        ("things: *nothing", "alias *nothing"),
        ("things: &x [*x]", "alias *x has no anchor before it"),
        ("a: 1\n---\nb: 1", "a second document"),
        ("? [a]\n: 1", "a key must be plain text"),
        ("[" * 100, "nested deeper than 32 levels"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 60)), "nested deeper than 32 levels"),
        (
            "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
            "more than 100000 values",
        ),
        ("x: " + "y" * MAX_BYTES, "larger than 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec.load(Things, text, "lab.yaml")
    assert message in str(caught.value)


def test_an_error_carries_field_and_line() -> None:
    with pytest.raises(InvalidArgument) as caught:
        spec.load(Things, "things:\n- ends: [a]\n  loss: 140%")
    assert (caught.value.field, caught.value.line) == ("things[0].loss", 3)


def test_files_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(InvalidArgument, match="larger than 1048576 bytes"):
        spec.load_file(Things, huge)
    with pytest.raises(NotFound, match="no such file"):
        spec.load_file(Things, tmp_path / "none.yaml")
    with pytest.raises(InvalidArgument, match="cannot be read"):
        spec.load_file(Things, tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xe9")
    with pytest.raises(InvalidArgument, match=r"latin\.yaml:2: not UTF-8"):
        spec.load_file(Things, latin)


def test_yaml_1_2_words_stay_text() -> None:
    value = spec.read_text("{a: on, b: no, c: 00:11, d: 0.10, e: true, f: ~, g: '1', h: -3}").plain()
    assert value == {"a": "on", "b": "no", "c": "00:11", "d": "0.10", "e": True, "f": None, "g": "1", "h": -3}


def test_override_sets_a_path_and_refuses_one_that_is_not_there() -> None:
    value = spec.read_text(FULL)
    fieldpath.override(value, "things[0].loss", "2%")
    fieldpath.override(value, "things[1].delay", "3s")
    first, second = spec.parse(Things, value).things
    assert first.shape["loss"] == CHANCE_ONE // 50
    assert second.delay_ns == 3 * 10**9
    for path in ("things[2].loss", "thongs[0].loss", "things..loss", "things[0].ends[7]", ""):
        with pytest.raises(InvalidArgument):
            fieldpath.override(value, path, "1")


@pytest.mark.parametrize(("text", "bits"), [("5mbit", 5_000_000), ("1.5Gbit", 1_500_000_000), ("1kibit", 1024), (0, 0)])
def test_rates(text: str, bits: int) -> None:
    assert units.parse_rate(text) == bits


@pytest.mark.parametrize(("text", "size"), [("64kb", 65536), (1500, 1500), ("1.5k", 1536), ("2mb", 2 << 20)])
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "chance"),
    [
        ("1%", 10_000_000),
        ("0.01", 10_000_000),
        (Decimal("0.1"), 100_000_000),
        ("100%", CHANCE_ONE),
        (1, CHANCE_ONE),
        (0, 0),
        ("0.0000001%", 1),
    ],
)
def test_chances_are_exact(text: str, chance: int) -> None:
    assert units.parse_chance(text) == chance


@given(st.integers(0, 1 << 62))
def test_what_is_formatted_reads_back(number: int) -> None:
    assert units.parse_duration(units.format_duration(number)) == number
    assert units.parse_rate(units.format_rate(number)) == number
    assert units.parse_chance(units.format_chance(number % (CHANCE_ONE + 1))) == number % (CHANCE_ONE + 1)
    assert units.parse_size(units.format_size(number >> 5)) == number >> 5


@given(st.text(max_size=200))
def test_any_text_gives_a_value_or_invalid_argument(text: str) -> None:
    try:
        spec.load(Things, text, "lab.yaml")
    except InvalidArgument as error:
        assert str(error)
