"""The scoreboard against a list that is looked at from one end to the other."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import given, settings

from nodes.packet.tcp import ACK, RST
from nodes.tcp import states
from nodes.tcp.scoreboard import FLYING, LOST, SACKED, Scoreboard, Sent
from tests.nodes.tcp.harness import Host, client

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=24)
#: What happens next: a kind, and two numbers that choose where.
STEPS = st.lists(st.tuples(st.sampled_from("alswxfr"), st.integers(0, 200), st.integers(0, 200)), max_size=60)


@dataclass
class Piece:
    seq: int
    end: int
    state: int
    sent_at: int


@settings(max_examples=400)
@given(SIZES, STEPS)
def test_it_agrees_with_a_plain_list(sizes: list[int], steps: list[tuple[str, int, int]]) -> None:
    board = Scoreboard()
    model: list[Piece] = []
    told: set[int] = set()
    seq = 1000
    una = seq
    now = 0
    for size in sizes:
        now += 1
        board.add(Sent(seq, seq + size, ACK, bytes(size), now))
        model.append(Piece(seq, seq + size, FLYING, now))
        seq += size
    for kind, one, other in steps:
        now += 1
        length = seq - una
        if not model:
            break
        if kind == "a":  # an ACK
            una += one % (length + 1)
            board.acknowledge(una)
            model = [piece for piece in model if piece.end > una]
            if model:
                model[0].seq = max(model[0].seq, una)
        elif kind == "s":  # a SACK
            left = una + one % length
            right = min(left + 1 + other % 12, seq)
            news = {record.seq for record in board.sack(left, right)}
            told |= set(range(left, right))
            expected = set()
            for piece in model:
                touched = any(left <= octet < right for octet in range(piece.seq, piece.end))
                near = piece.end >= left and piece.seq <= right
                if (touched or near) and piece.state != SACKED and told.issuperset(range(piece.seq, piece.end)):
                    piece.state = SACKED
                    expected.add(piece.seq)
            assert news == expected
        elif kind == "l":
            piece = model[one % len(model)]
            record = next(record for record in board if record.seq == piece.seq)
            board.lose(record)
            if piece.state == FLYING:
                piece.state = LOST
        elif kind == "w":
            board.lose_all()
            for piece in model:
                if piece.state == FLYING:
                    piece.state = LOST
        elif kind == "x":
            record = next(record for record in board if record.seq == model[one % len(model)].seq)
            piece = model[one % len(model)]
            size = other % (piece.end - piece.seq)
            if size:
                board.split(record, size)
                model.insert(one % len(model) + 1, Piece(piece.seq + size, piece.end, piece.state, piece.sent_at))
                piece.end = piece.seq + size
        elif kind == "f":
            board.find_all()
            for piece in model:
                if piece.state == LOST:
                    piece.state = FLYING
        else:
            lost = [piece for piece in model if piece.state == LOST]
            next_lost = board.next_lost()
            assert (next_lost.seq if next_lost else None) == (lost[0].seq if lost else None)
            if next_lost is not None:
                board.sent_again(next_lost, now)
                lost[0].state = FLYING
                lost[0].sent_at = now
        told = {octet for octet in told if octet >= una}
        if kind in "ax":  # what has become shorter may be known whole
            for piece in model:
                if told.issuperset(range(piece.seq, piece.end)):
                    piece.state = SACKED
        assert [(record.seq, record.end, record.state) for record in board] == [
            (piece.seq, piece.end, piece.state) for piece in model
        ]
        for state, total in ((FLYING, board.flying), (LOST, board.lost), (SACKED, board.sacked)):
            assert total == sum(piece.end - piece.seq for piece in model if piece.state == state)
        order = []
        sent = board.first_sent
        while sent is not None:
            order.append((sent.sent_at, sent.seq))
            sent = sent.later
        assert sorted(order) == order
        assert sorted(order) == sorted((one.sent_at, one.seq) for one in model if one.state == FLYING)


def test_a_connection_that_ends_leaves_no_segments() -> None:
    """Compiled code kept what was outstanding for ever."""
    host = Host()
    gc.collect()
    before = sum(type(one) is Sent for one in gc.get_objects())
    for _ in range(10):
        c, peer = client(host)
        c.send(host.now, bytes(10_000))
        peer.send(RST, 1)
        assert c.state == states.CLOSED
    host.take()
    gc.collect()
    assert sum(type(one) is Sent for one in gc.get_objects()) == before
