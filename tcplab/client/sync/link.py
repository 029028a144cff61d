# Made by tools/sync_client.py from tcplab/client/aio/link.py: change it there.
"""Links of a lab: impairments, packet rules, up and down."""

from __future__ import annotations

from collections.abc import Mapping

from tcplab.client.errors import InvalidArgument, NotFound
from tcplab.client.sync.rpc import Rpc
from tcplab.client.values import Time, chance, duration, nanoseconds, rate, size
from tcplab.v1 import link_pb2


class Link:
    """A link of a lab, by its name there. A `direction` is such as `h1->r1`; "" means both."""

    def __init__(self, rpc: Rpc, lab: str, name: str) -> None:
        self._rpc = rpc
        self.name = name
        self._path = f"{lab}/links/{name}"

    def info(self) -> link_pb2.Link:
        """Its ends, whether it is up, impairments of both directions."""
        return self._rpc.call(self._rpc.links.GetLink, link_pb2.GetLinkRequest(name=self._path))

    def update(
        self,
        direction: str = "",
        *,
        delay: Time | None = None,
        jitter: Time | None = None,
        loss: str | float | None = None,
        gemodel_p: str | float | None = None,
        gemodel_r: str | float | None = None,
        gemodel_1h: str | float | None = None,
        gemodel_1k: str | float | None = None,
        duplicate: str | float | None = None,
        corrupt: str | float | None = None,
        reorder: str | float | None = None,
        reorder_gap: int | None = None,
        reorder_delay: Time | None = None,
        rate: str | int | None = None,
        limit: int | None = None,
        limit_bytes: str | int | None = None,
        ecn_threshold: str | int | None = None,
        queue: str | None = None,
        red_min: str | int | None = None,
        red_max: str | int | None = None,
        red_probability: str | float | None = None,
        red_ecn: bool | None = None,
        up: bool | None = None,
    ) -> None:
        """Change what is named and nothing else, at once. What is in flight stays in flight."""
        impairments = _impairments(
            delay,
            jitter,
            {
                "loss": loss,
                "gemodel_p": gemodel_p,
                "gemodel_r": gemodel_r,
                "gemodel_1h": gemodel_1h,
                "gemodel_1k": gemodel_1k,
                "duplicate": duplicate,
                "corrupt": corrupt,
                "reorder": reorder,
                "red_probability": red_probability,
            },
            reorder_gap,
            reorder_delay,
            rate,
            limit,
            limit_bytes,
            ecn_threshold,
            queue,
            red_min,
            red_max,
            red_ecn,
        )
        link = link_pb2.Link(name=self._path, up=up)
        if impairments.ListFields():
            forward = not direction or self._is_forward(direction)
            if forward:
                link.forward.CopyFrom(impairments)
            if not direction or not forward:
                link.backward.CopyFrom(impairments)
        self._rpc.call(self._rpc.links.UpdateLink, link_pb2.UpdateLinkRequest(link=link))

    def up(self) -> None:
        """Let it carry frames."""
        self.update(up=True)

    def down(self) -> None:
        """Let it drop whatever is offered."""
        self.update(up=False)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Counters of each direction by name."""
        answer = self._rpc.call(self._rpc.links.GetLinkStatistics, link_pb2.GetLinkStatisticsRequest(name=self._path))
        forward, backward = _directions(self.info())
        return {forward: _counts(answer.forward), backward: _counts(answer.backward)}

    def rule(
        self,
        *,
        match: str = "",
        nth: str | int = "",
        direction: str = "",
        stream_bytes: str = "",
        name: str = "",
        drop: bool = False,
        delay: Time | None = None,
        duplicate: int = 0,
        corrupt: bool = False,
        hold: int = 0,
        reset: bool = False,
    ) -> str:
        """Add a packet rule: what to do (one of `drop` ... `reset`) with the `nth` frames that match. Returns its name.

        `match` has Wireshark's words (`tcp.flags.syn && tcp.flags.ack`), `nth` is 1, "2-4", "every 3" (default: all),
        `stream_bytes` such as "14600..29199". `duplicate` is how many copies, `hold` how many packets go first.
        """
        rule = link_pb2.Rule(direction=direction, match=match, nth=str(nth), stream_bytes=stream_bytes)
        given = [
            word
            for word, is_given in (
                ("drop", drop),
                ("delay", delay is not None),
                ("duplicate", duplicate),
                ("corrupt", corrupt),
                ("hold", hold),
                ("reset", reset),
            )
            if is_given
        ]
        if len(given) != 1:
            wrong = (
                f"{' and '.join(given) or 'nothing'} to do; give one of drop, delay, duplicate, corrupt, hold, reset"
            )
            raise InvalidArgument(wrong, fields={"action": wrong})
        getattr(rule, given[0]).SetInParent()
        if delay is not None:
            rule.delay.delay.FromNanoseconds(nanoseconds(delay, "delay"))
        elif duplicate:
            rule.duplicate.copies = duplicate
        elif hold:
            rule.hold.packets = hold
        request = link_pb2.CreateRuleRequest(parent=self._path, rule_id=name, rule=rule)
        return (self._rpc.call(self._rpc.links.CreateRule, request)).name.rpartition("/")[2]

    def rules(self) -> list[link_pb2.Rule]:
        """Its rules in the order they are asked, with how often each matched and acted."""
        pages = self._rpc.pages(self._rpc.links.ListRules, link_pb2.ListRulesRequest(parent=self._path))
        return [one for page in pages for one in page.rules]

    def remove_rule(self, name: str) -> None:
        """Remove a packet rule; what it holds is released."""
        self._rpc.call(self._rpc.links.DeleteRule, link_pb2.DeleteRuleRequest(name=f"{self._path}/rules/{name}"))

    def _is_forward(self, direction: str) -> bool:
        forward, backward = _directions(self.info())
        if direction not in (forward, backward):
            raise NotFound(f"link {self.name} has no direction {direction!r}; it has {forward} and {backward}")
        return direction == forward

    def __repr__(self) -> str:
        return f"<link {self.name}>"


def _directions(link: link_pb2.Link) -> tuple[str, str]:
    a, b = link.a.partition(":")[0], link.b.partition(":")[0]
    return f"{a}->{b}", f"{b}->{a}"


def _counts(statistics: link_pb2.LinkStatistics) -> dict[str, int]:
    return {field.name: getattr(statistics, field.name) for field in statistics.DESCRIPTOR.fields}


def _impairments(
    delay: Time | None,
    jitter: Time | None,
    chances: Mapping[str, str | float | None],
    reorder_gap: int | None,
    reorder_delay: Time | None,
    rate_: str | int | None,
    limit: int | None,
    limit_bytes: str | int | None,
    ecn_threshold: str | int | None,
    queue: str | None,
    red_min: str | int | None,
    red_max: str | int | None,
    red_ecn: bool | None,
) -> link_pb2.Impairments:
    return link_pb2.Impairments(
        delay=duration(delay, "delay"),
        jitter=duration(jitter, "jitter"),
        reorder_gap=reorder_gap,
        reorder_delay=duration(reorder_delay, "reorder_delay"),
        rate_bps=None if rate_ is None else rate(rate_, "rate"),
        limit_packets=limit,
        limit_bytes=None if limit_bytes is None else size(limit_bytes, "limit_bytes"),
        ecn_threshold=None if ecn_threshold is None else size(ecn_threshold, "ecn_threshold"),
        queue=queue,
        red_min=None if red_min is None else size(red_min, "red_min"),
        red_max=None if red_max is None else size(red_max, "red_max"),
        red_ecn=red_ecn,
        **{name: chance(value, name) for name, value in chances.items() if value is not None},
    )
