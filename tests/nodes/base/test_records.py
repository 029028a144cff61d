"""Records are what struct makes of their fields, pure and compiled."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.base.errors import InvalidArgument
from nodes.base.events import KINDS, LEVEL_ALL, UNKNOWN, Kind
from nodes.base.records import RecordWriter

#: Lowest and highest of each code of struct.
RANGES = {
    "B": (0, (1 << 8) - 1),
    "H": (0, (1 << 16) - 1),
    "I": (0, (1 << 32) - 1),
    "q": (UNKNOWN, (1 << 63) - 1),
    "Q": (0, (1 << 64) - 1),
}


class Kept(RecordWriter):
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__(LEVEL_ALL, True)
        self.kept = b""

    def _write(self, data: bytes) -> None:
        self.kept += data


def values_of(kind: Kind) -> st.SearchStrategy[tuple[int, ...]]:
    """Any values that fit, the edges often."""
    ends = [RANGES[field.code] for field in kind.fields]
    return st.tuples(*(st.sampled_from((low, high)) | st.integers(low, high) for low, high in ends))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_record_is_its_fields(kind: Kind, data: st.DataObject) -> None:
    values = data.draw(values_of(kind))
    header = data.draw(st.tuples(*(st.integers(*RANGES[code]) for code in "qIIH")))
    time_ns, node, conn, cause = header
    tail = data.draw(st.binary(max_size=9))
    writer = Kept()
    writer.source = data.draw(st.integers(0, 255))
    writer.emit(kind.number, time_ns, node, conn, cause, values)
    writer.emit_tail(kind.number, time_ns, node, conn, cause, values, tail)
    writer.flush()
    layout = "<IBBHqII" + "".join(field.code for field in kind.fields)
    size = struct.calcsize(layout)
    rest = (kind.number, writer.source, cause, time_ns, node, conn, *values)
    assert writer.kept == struct.pack(layout, size, *rest) + struct.pack(layout, size + len(tail), *rest) + tail


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.fields], ids=lambda kind: kind.name)
def test_what_does_not_fit_is_named(kind: Kind) -> None:
    fits = tuple(RANGES[field.code][0] for field in kind.fields)
    for index, field in enumerate(kind.fields):
        low, high = RANGES[field.code]
        for wrong in (low - 1, high + 1):
            with pytest.raises(InvalidArgument, match=f"event {kind.name}, field {field.name}: {wrong} does not fit"):
                Kept().emit(kind.number, 0, 0, 0, 0, (*fits[:index], wrong, *fits[index + 1 :]))
