"""The learning switch."""

from __future__ import annotations

from lab.links.switch import AGEING_NS, MAX_ADDRESSES, Switch

A, B, GROUP, ALL = b"\x02" + bytes(4) + b"\x01", b"\x02" + bytes(4) + b"\x02", b"\x01" + bytes(5), b"\xff" * 6


def frame(destination: bytes, source: bytes) -> bytes:
    return destination + source + b"\x08\x00" + bytes(20)


def test_it_floods_until_it_has_learned() -> None:
    switch = Switch("s1", 4)
    assert switch.on_frame(0, 2, frame(B, A)) == (0, 1, 3)
    assert switch.on_frame(0, 0, frame(A, B)) == (2,)
    assert switch.on_frame(0, 2, frame(B, A)) == (0,)
    assert switch.addresses(0) == {A: 2, B: 0}


def test_broadcast_and_multicast_go_everywhere_else() -> None:
    switch = Switch("s1", 3)
    for destination in (ALL, GROUP):
        assert switch.on_frame(0, 1, frame(destination, A)) == (0, 2)


def test_a_group_address_is_not_learned_as_source() -> None:
    switch = Switch("s1", 2)
    switch.on_frame(0, 0, frame(A, GROUP))
    assert switch.addresses(0) == {}


def test_a_frame_for_where_it_came_from_is_dropped() -> None:
    switch = Switch("s1", 2)
    switch.on_frame(0, 0, frame(B, A))
    assert switch.on_frame(0, 0, frame(A, B)) == ()


def test_a_host_that_moves_is_found_again() -> None:
    switch = Switch("s1", 3)
    switch.on_frame(0, 0, frame(ALL, A))
    switch.on_frame(1, 2, frame(ALL, A))
    assert switch.on_frame(2, 1, frame(A, B)) == (2,)


def test_what_is_old_is_flooded() -> None:
    switch = Switch("s1", 3)
    switch.on_frame(0, 0, frame(ALL, A))
    assert switch.on_frame(AGEING_NS - 1, 1, frame(A, B)) == (0,)
    assert switch.on_frame(AGEING_NS, 1, frame(A, B)) == (0, 2)


def test_its_table_is_bounded_and_flooding_is_what_a_full_one_does() -> None:
    switch = Switch("s1", 3)
    for number in range(MAX_ADDRESSES):
        switch.on_frame(0, 0, frame(ALL, b"\x06" + number.to_bytes(5, "big")))
    switch.on_frame(1, 1, frame(ALL, A))
    assert len(switch.addresses(1)) == MAX_ADDRESSES
    assert switch.on_frame(1, 0, frame(A, B)) == (1, 2)


def test_a_runt_is_ignored() -> None:
    assert Switch("s1", 2).on_frame(0, 0, b"\x00" * 13) == ()
