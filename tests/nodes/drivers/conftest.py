"""Two namespaces joined by a veth pair, `eth0` in both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.namespaces import Namespace, veth


class Pair(NamedTuple):
    one: Namespace
    other: Namespace


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = Namespace(), Namespace()
    veth(one, other)
    yield Pair(one, other)
    one.close()
    other.close()
