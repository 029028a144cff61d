"""Messages of the API from the objects of a lab, and arguments of its calls from messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import duration_pb2

from lab import spec
from lab.backends.base import AppInfo, Lab, ListenerInfo
from lab.backends.until import EventFilter, Until
from lab.operations import Operation
from lab.server import names
from lab.server.errors import code_of
from nodes.agent.host import PingResult
from nodes.agent.payload import Received
from nodes.base.causes import CAUSES
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import InvalidArgument, SocketError
from nodes.packet.address import address_text
from nodes.tcp.info import TcpInfo
from tcplab.v1 import app_pb2, connection_pb2, lab_pb2, node_pb2, operation_pb2, run_pb2, tcp_pb2, trace_pb2

#: As operations are called in the API.
_CALLS: Final = {"wait_ready": "ready"}

# Values.


def duration(ns: int) -> duration_pb2.Duration:
    seconds, nanos = divmod(ns, SECOND)
    return duration_pb2.Duration(seconds=seconds, nanos=nanos)


def nanoseconds(value: duration_pb2.Duration, field: str, lowest: int = 0) -> int:
    """ns of a Duration. Raises InvalidArgument when it is no valid one, is less than `lowest` or past 292 years."""
    if abs(value.nanos) >= SECOND or value.seconds * value.nanos < 0:
        raise InvalidArgument(f"{field}: {value.seconds} s and {value.nanos} ns are no valid duration", field)
    ns = value.seconds * SECOND + value.nanos
    if not lowest <= ns < NEVER:
        what = "not be negative" if lowest == 0 else f"be {lowest} ns or more"
        raise InvalidArgument(
            f"{field}: {value.seconds}.{abs(value.nanos):09} s; it must {what}, and below 292 years", field
        )
    return ns


def timeout(value: duration_pb2.Duration, given: bool, field: str = "timeout") -> int:
    """ns of an operation's timeout; NEVER when none was given."""
    return nanoseconds(value, field) if given else NEVER


def number_or_text(text: str) -> int | str:
    """A value of an option or a knob: whole numbers as int, true and false as 1 and 0, else text."""
    word = text.strip()
    if word.removeprefix("-").isdecimal() and word.isascii() and len(word) < 20:
        return int(word)
    return {"true": 1, "false": 0}.get(word, word)


def values(given: Mapping[str, str]) -> dict[str, int | str]:
    """Options or knobs by name, in the order of their names: a map of the API has none."""
    return {name: number_or_text(given[name]) for name in sorted(given)}


# Connections.


def connection(lab: str, node: str, info: TcpInfo) -> connection_pb2.Connection:
    message = connection_pb2.Connection(
        name=connection_name(lab, node, info.number),
        local_address=_address(info.local_address),
        local_port=info.local_port,
        remote_address=_address(info.remote_address),
        remote_port=info.remote_port,
        state=connection_pb2.TcpState.ValueType(info.state),
        errno=info.error,
        ca_state=info.ca_state,
        congestion_control=info.congestion,
        options=info.options,
        snd_wscale=info.snd_wscale,
        rcv_wscale=info.rcv_wscale,
        rto=duration(info.rto),
        retransmits=info.retransmits,
        probes=info.probes,
        backoff=info.backoff,
        snd_mss=info.snd_mss,
        rcv_mss=info.rcv_mss,
        advmss=info.advmss,
        pmtu=info.pmtu,
        snd_cwnd=info.snd_cwnd,
        snd_ssthresh=info.snd_ssthresh,
        snd_wnd=info.snd_wnd,
        rcv_wnd=info.rcv_wnd,
        unacked=info.unacked,
        lost=info.lost,
        retrans=info.retrans,
        total_retrans=info.total_retrans,
        notsent_bytes=info.notsent_bytes,
        rcv_queue=info.rcv_queue,
        reordering_queue=info.reordering_queue,
        bytes_acked=info.bytes_acked,
        bytes_received=info.bytes_received,
        delivered=info.delivered,
        segs_in=info.segs_in,
        segs_out=info.segs_out,
        last_data_sent_ns=info.last_data_sent,
        last_segment_received_ns=info.last_segment_received,
        iss=info.iss,
        irs=info.irs,
        snd_una=info.snd_una,
        snd_nxt=info.snd_nxt,
        rcv_nxt=info.rcv_nxt,
        sacked=info.sacked,
        reordering=info.reordering,
        bytes_sent=info.bytes_sent,
        bytes_retrans=info.bytes_retrans,
        dsack_dups=info.dsack_dups,
        total_rto=info.total_rto,
        total_rto_recoveries=info.total_rto_recoveries,
        total_rto_time=duration(info.total_rto_time),
        delivered_segs=info.delivered_segs,
        data_segs_in=info.data_segs_in,
        data_segs_out=info.data_segs_out,
        reord_seen=info.reord_seen,
        fastopen_client_fail=info.fastopen_client_fail,
        rcv_ooopack=info.rcv_ooopack,
        rcv_ssthresh=info.rcv_ssthresh,
        rcv_space=info.rcv_space,
        busy_time=duration(info.busy_time),
        rwnd_limited=duration(info.rwnd_limited),
        sndbuf_limited=duration(info.sndbuf_limited),
        last_data_received_ns=info.last_data_received,
        last_ack_sent_ns=info.last_ack_sent,
        last_ack_received_ns=info.last_ack_received,
        pacing_rate=info.pacing_rate,
        delivery_rate=info.delivery_rate,
        delivery_rate_app_limited=info.delivery_rate_app_limited,
        delivered_ce=info.delivered_ce,
        delivered_ce_segs=info.delivered_ce_segs,
        received_ce=info.received_ce,
        delivered_e1_bytes=info.delivered_e1_bytes,
        delivered_e0_bytes=info.delivered_e0_bytes,
        delivered_ce_bytes=info.delivered_ce_bytes,
        received_e1_bytes=info.received_e1_bytes,
        received_e0_bytes=info.received_e0_bytes,
        received_ce_bytes=info.received_ce_bytes,
        accecn_opt_seen=info.accecn_opt_seen,
        accecn_fail_mode=info.accecn_fail_mode,
    )
    if info.rtt:
        message.rtt.CopyFrom(duration(info.rtt))
        message.rttvar.CopyFrom(duration(info.rttvar))
    if info.ato:
        message.ato.CopyFrom(duration(info.ato))
    if info.min_rtt:
        message.min_rtt.CopyFrom(duration(info.min_rtt))
    if info.rcv_rtt:
        message.rcv_rtt.CopyFrom(duration(info.rcv_rtt))
    return message


def connection_name(lab: str, node: str, number: int) -> str:
    return f"labs/{lab}/nodes/{node}/connections/{number}"


def _address(address: bytes) -> str:
    return address_text(address) if address else ""


def listener(lab: str, info: ListenerInfo) -> tcp_pb2.Listener:
    return tcp_pb2.Listener(
        name=f"labs/{lab}/nodes/{info.node}/listeners/{info.number}",
        local_address=info.local,
        local_port=info.local_port,
        backlog=info.backlog,
        syn_queue=info.syn_queue,
        accept_queue=info.accept_queue,
    )


# Operations.


def operation(lab: str, one: Operation) -> operation_pb2.Operation:
    message = operation_pb2.Operation(
        name=f"labs/{lab}/operations/{one.name}",
        call=_CALLS.get(one.call, one.call),
        node=f"labs/{lab}/nodes/{one.node}",
        connection=connection_name(lab, one.node, one.connection) if one.connection else "",
        start_time_ns=one.started_ns,
        waiting_for=one.waiting_for,
        done=one.done,
    )
    if one.done:
        message.end_time_ns = one.ended_ns
        if one.error is not None:
            message.error.CopyFrom(operation_error(one.error))
        else:
            _set_result(message, lab, one)
    return message


def _set_result(message: operation_pb2.Operation, lab: str, one: Operation) -> None:
    result = one.result
    if isinstance(result, TcpInfo):
        left = message.closed if one.call == "linger" else message.established
        left.CopyFrom(connection(lab, one.node, result))
    elif isinstance(result, Received):
        message.received.CopyFrom(
            operation_pb2.ReceiveResult(data=result.data, length=result.length, sha256=result.sha256, eof=result.eof)
        )
    elif isinstance(result, int):
        message.sent.length = result
    elif isinstance(result, tuple):
        message.ready.CopyFrom(operation_pb2.ReadyResult(readable="readable" in result, writable="writable" in result))
    else:
        message.ping.CopyFrom(_ping(result))


def _ping(results: list[PingResult]) -> operation_pb2.PingResult:
    answered = [duration(one.rtt_ns) for one in results if not one.error]
    return operation_pb2.PingResult(transmitted=len(results), received=len(answered), round_trip_times=answered)


def operation_error(error: BaseException) -> operation_pb2.OperationError:
    errno = error.errno_name if isinstance(error, SocketError) else ""
    return operation_pb2.OperationError(code=code_of(error).name, errno=errno, message=str(error))


# The clock.


def until(lab: Lab, request: lab_pb2.AdvanceRequest) -> Until:
    """What an Advance waits for. Raises InvalidArgument."""
    lab_id = names.parts_of(request)[0]
    times = []
    if request.HasField("time_ns"):
        times.append(request.time_ns)
    if request.HasField("duration"):
        times.append(lab.now() + nanoseconds(request.duration, "duration"))
    if times and min(times) >= NEVER:
        raise InvalidArgument("duration: no lab reaches 292 years", "duration")
    if request.nth < 0:
        raise InvalidArgument(f"nth: {request.nth} is not 1 (the default) or more", "nth")
    return Until(
        time_ns=min(times) if times else None,
        operations=tuple(names.inside(lab_id, names.OPERATION, one, "operations") for one in request.operations),
        apps=tuple(names.inside(lab_id, names.APP, one, "apps") for one in request.apps),
        event=event_filter(request.event) if request.HasField("event") else None,
        nth=request.nth or 1,
        idle=request.idle,
    )


def event_filter(message: trace_pb2.EventFilter) -> EventFilter:
    """Raises InvalidArgument for what no event has."""
    cause = CAUSES.get(message.cause)
    if message.cause and cause is None:
        raise InvalidArgument(f"cause: {message.cause} is the number of none", "cause")
    fields = {
        name: message.fields[name].replace("_", "-") if name in ("old", "new") else message.fields[name]
        for name in sorted(message.fields)
    }
    return EventFilter(
        tuple(message.kinds),
        message.node,
        message.connection,
        cause.name if cause is not None and message.cause else "",
        fields,
    )


# Runs.


def fidelity(report: Mapping[str, Any]) -> run_pb2.Fidelity:
    """What a manifest says of how far a run in real time can be believed (lab/engine/fidelity.py); `warning` stands for
    a report that there is not."""
    message = run_pb2.Fidelity(warnings=report.get("warnings", ()))
    if "warning" in report:
        message.warnings.append(report["warning"])
    for name in ("late_ns", "waited_ns"):
        for quantile, value in report.get(name, {}).items():
            setattr(message, f"{name.removesuffix('_ns')}_{quantile}_ns", value)
    for field in message.DESCRIPTOR.fields:
        if isinstance(report.get(field.name), int):
            setattr(message, field.name, report[field.name])
    return message


# Nodes and applications.


def node(lab: Lab, lab_id: str, name: str) -> node_pb2.Node:
    """Raises NotFound."""
    failure = lab.node_failure(name)
    parameters = {} if failure else lab.parameters(name)
    found = lab.topology.nodes[name]
    return node_pb2.Node(
        name=f"labs/{lab_id}/nodes/{name}",
        kind=found.kind,
        interfaces=[
            node_pb2.Interface(
                name=one.name,
                address=_address(one.address),
                prefix_length=one.prefix_len,
                mac=one.mac.hex(":"),
                mtu=one.mtu,
                link=f"labs/{lab_id}/links/{one.link}",
                ipv6_address=address_text(one.ipv6),
                ipv6_prefix_length=one.ipv6_prefix_len,
            )
            for one in found.interfaces
        ],
        parameters={knob: str(value) for knob, value in parameters.items()},
        state=node_pb2.Node.STATE_FAILED if failure else node_pb2.Node.STATE_READY,
        failure=failure,
    )


def settings(given: Mapping[str, str]) -> dict[str, object]:
    """An app's settings as they would be read from a file. Raises InvalidArgument."""
    result: dict[str, object] = {}
    for name in sorted(given):
        try:
            result[name] = spec.read_text(given[name]).plain()
        except InvalidArgument as error:
            raise InvalidArgument(f"app.settings.{name}: {error}", f"app.settings.{name}") from None
    return result


def app(lab: str, info: AppInfo, given: Mapping[str, str]) -> app_pb2.App:
    return app_pb2.App(
        name=f"labs/{lab}/apps/{info.name}",
        node=f"labs/{lab}/nodes/{info.node}",
        kind=info.kind,
        settings=given,
        done=info.done,
        results={name: str(value) for name, value in info.results.items()},
        error=info.error,
    )


def uploaded(files: Iterable[lab_pb2.SourceFile]) -> dict[str, str]:
    """Files of a request, by name. Raises InvalidArgument for a name that comes twice."""
    found: dict[str, str] = {}
    for file in files:
        if file.name in found:
            raise InvalidArgument(f"congestion_controls: {file.name[:80]!r} is there twice", "congestion_controls")
        found[file.name] = file.text
    return found
