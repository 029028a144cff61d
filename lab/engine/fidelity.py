"""The fidelity report of a run in real time: how well the engine kept to what was asked, and whether to believe it.

All durations are ns. `late_ns` is from the instant at which a link released a frame until it was sent, `waited_ns` from
the kernel's time stamp on a frame until the engine looked. The thresholds of the warnings are below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from nodes.base.clock import MILLISECOND
from nodes.base.histogram import Histogram

if TYPE_CHECKING:
    from lab.engine.load import LoadShares
    from lab.engine.port import Port

#: Frames that leave later than this are noticed by TCP: it is a tenth of a short Internet path's delay.
LATE_P99_NS: Final = MILLISECOND
#: Frames that wait longer than this before the engine sees them stand in a queue that no link asked for.
WAITED_P99_NS: Final = 5 * MILLISECOND
#: Timers of nodes that fire later than this make a stack look slower than it is: it is a tick of old kernels.
NODE_LATE_P99_NS: Final = 10 * MILLISECOND
#: Per mille of one core, for the engine: above it the next burst has nowhere to go.
PROCESS_SHARE: Final = 900
#: Per mille of all cores: above it everybody waits for everybody.
MACHINE_SHARE: Final = 950
#: Per mille of all cores that the machine did not have although it asked.
STEAL_SHARE: Final = 50


def report(ports: Iterable[Port], load: LoadShares) -> dict[str, Any]:
    """The report: overall, by port that carried something, and `warnings`, empty when the run can be believed."""
    late, waited = Histogram(), Histogram()
    by_port: dict[str, Any] = {}
    dropped = failures = received = too_long = 0
    for port in ports:
        late.merge(port.late)
        waited.merge(port.waited)
        if port.late.count or port.counts()[0]:
            one = by_port[port.name] = port.report()
            received += one["received"]
            dropped += one["dropped_in_socket"]
            too_long += one["too_long"]
            failures += one["send_failures"]
    overall: dict[str, Any] = {
        "sent": late.count,
        "late_ns": late.summary(),
        "received": received,
        "waited_ns": waited.summary(),
        "dropped_in_socket": dropped,
        "too_long": too_long,
        "send_failures": failures,
        "elapsed_ns": load.elapsed_ns,
        "engine_cpu_permille": load.process,
        "machine_cpu_permille": load.machine,
        "steal_permille": load.steal,
        "cores": load.cores,
    }
    return {**overall, "ports": by_port, "warnings": warnings(overall)}


def with_nodes(found: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The report with what the nodes say (`nodes`): frames `dropped` at each interface because the node's process was
    too slow, and `late_ns`, how late its timers were."""
    said = [*found["warnings"]]
    lost = {f"{node}:{name}": n for node, one in reports.items() for name, n in one["dropped"].items() if n}
    if lost:
        where = ", ".join(f"{count} at {name}" for name, count in lost.items())
        said.append(f"Nodes were too slow for the frames that came, and lost some: {where}.")
    late = {node: one["late_ns"]["p99"] for node, one in reports.items() if one["late_ns"]["p99"] > NODE_LATE_P99_NS}
    if late:
        who = ", ".join(f"{node} by {_ms(p99)}" for node, p99 in late.items())
        said.append(f"1 % of the timers of nodes were late, {who} or more (more than {_ms(NODE_LATE_P99_NS)}).")
    return {**found, "nodes": {node: dict(one) for node, one in reports.items()}, "warnings": said}


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Why a run should not be believed, one sentence each."""
    said = []
    if found["dropped_in_socket"]:
        said.append(f"{found['dropped_in_socket']} frames were lost in the link engine's sockets, not by a link.")
    if found["too_long"]:
        said.append(
            f"{found['too_long']} frames longer than the MTU were lost: an interface has its offloads on (ethtool -k)."
        )
    if found["send_failures"]:
        said.append(f"{found['send_failures']} frames could not be sent by the link engine.")
    late, waited = found["late_ns"]["p99"], found["waited_ns"]["p99"]
    if late > LATE_P99_NS:
        said.append(f"1 % of the frames left {_ms(late)} or more after their time (more than {_ms(LATE_P99_NS)}).")
    if waited > WAITED_P99_NS:
        said.append(
            f"1 % of the frames waited {_ms(waited)} or more for the link engine (more than {_ms(WAITED_P99_NS)}): "
            "a queue that no link has."
        )
    for words, key, most in (
        ("The link engine used {} of its core", "engine_cpu_permille", PROCESS_SHARE),
        ("The machine was busy for {} of the time", "machine_cpu_permille", MACHINE_SHARE),
        ("This virtual machine did not get {} of the time it asked for", "steal_permille", STEAL_SHARE),
    ):
        if found[key] > most:
            said.append(f"{words.format(f'{found[key] / 10:.0f} %')} (more than {most / 10:.0f} %).")
    return said


def words(found: Mapping[str, Any]) -> list[str]:
    """The report of a run for people: one line, and one for each warning; none for an empty report."""
    if not found:
        return []
    if "warning" in found:
        return [f"warning: {found['warning']}"]
    late = found["late_ns"]
    carried = (
        f"{found['sent']} frames, late by p50 {_ms(late['p50'])}, p99 {_ms(late['p99'])}, max {_ms(late['max'])}"
        if found["sent"]
        else "no frames"
    )
    said = (
        f"link engine: {carried}; {found['dropped_in_socket']} lost in its sockets; "
        f"CPU {found['engine_cpu_permille'] / 10:.0f} % of a core, machine {found['machine_cpu_permille'] / 10:.0f} %"
    )
    return [said, *(f"warning: {warning}" for warning in found["warnings"])]


def _ms(duration_ns: int) -> str:
    return f"{duration_ns / MILLISECOND:.3g} ms"
