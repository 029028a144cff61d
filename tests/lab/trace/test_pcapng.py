"""Captures, read back by Wireshark's own programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.trace.pcapng import write_captures
from tests.lab.trace.synthetic import lossy_transfer

FIELDS = (
    "frame.time_epoch",
    "frame.packet_flags_direction",
    "frame.comment",
    "ip.src",
    "tcp.flags.str",
    "tcp.seq_raw",
    "tcp.len",
    "ip.checksum.status",
    "tcp.checksum.status",
    "_ws.malformed",
    "frame.interface_name",
)
GOOD = "1"


def dissect(capture: Path) -> list[dict[str, str]]:
    command = ["tshark", "-r", str(capture), "-T", "fields", "-E", "separator=\x1f"]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [dict(zip(FIELDS, line.split("\x1f"), strict=True)) for line in done.stdout.splitlines()]


def outbound(packet: dict[str, str]) -> bool:
    return int(packet["frame.packet_flags_direction"], 0) == 2


@pytest.mark.requires("tshark")
def test_wireshark_reads_every_packet_with_direction_time_and_comment(spool: Path, tmp_path: Path) -> None:
    paths = write_captures(spool, tmp_path / "pcap")
    assert [path.name for path in paths] == ["h1-eth0.pcapng", "h2-eth0.pcapng"]
    h1, h2 = (dissect(path) for path in paths)
    for packet in h1 + h2:
        assert not packet["_ws.malformed"]
        assert (packet["ip.checksum.status"], packet["tcp.checksum.status"]) == (GOOD, GOOD)
    assert {packet["frame.interface_name"] for packet in h1} == {"h1:eth0"}
    # The dropped SYN-ACK: its sender has it, with the rule that dropped it; the other end never saw it.
    lost = next(packet for packet in h2 if outbound(packet))
    assert lost["frame.time_epoch"] == "0.010000000"
    assert lost["frame.comment"] == (
        "h1-h2/h2:eth0->h1:eth0: dropped by rule lose-syn-ack; h2#1; connection establishment (RFC 9293 3.5)"
    )
    assert next(packet["frame.time_epoch"] for packet in h1 if not outbound(packet)) == "1.020000000"
    # The same segment with both clocks.
    first_data = next(packet for packet in h1 if outbound(packet) and packet["tcp.len"] == "1000")
    arrived = next(packet for packet in h2 if not outbound(packet) and packet["tcp.len"] == "1000")
    assert (first_data["frame.time_epoch"], arrived["frame.time_epoch"]) == ("1.030000000", "1.040000000")
    assert first_data["tcp.seq_raw"] == arrived["tcp.seq_raw"] == "4294967001"
    again = [packet for packet in h1 if packet["frame.comment"].endswith("; resent") and outbound(packet)]
    assert [(packet["tcp.seq_raw"], packet["tcp.len"]) for packet in again] == [("4294967000", "0"), ("10705", "1000")]
    assert "passed, delay 10 ms; h1#1; fast retransmit (RFC 5681 3.2); resent" in again[1]["frame.comment"]


@pytest.mark.requires("tshark")
def test_a_forged_packet_is_in_the_receivers_capture_only(spool: Path, tmp_path: Path) -> None:
    h1, h2 = (dissect(path) for path in write_captures(spool, tmp_path / "pcap"))
    forged = [packet for packet in h2 if "attack rst-on-path" in packet["frame.comment"]]
    assert [(packet["ip.src"], packet["tcp.seq_raw"]) for packet in forged] == [
        ("10.0.0.1", "4294967009"),
        ("10.0.0.1", "4294967001"),
    ]
    assert all("injected" in packet["frame.comment"] and not outbound(packet) for packet in forged)
    assert not [packet for packet in h1 if "R" in packet["tcp.flags.str"] and outbound(packet)]
    # A segment sent after the forgeries still has its own remark, though the link counts the forged ones too.
    last = [packet for packet in h1 if outbound(packet)][-1]
    assert (last["tcp.len"], "new data" in last["frame.comment"]) == ("500", True)


@pytest.mark.requires("capinfos")
def test_capinfos_finds_nothing_of_this_machine(spool: Path, tmp_path: Path) -> None:
    capture = write_captures(spool, tmp_path / "pcap")[0]
    done = subprocess.run(["capinfos", str(capture)], capture_output=True, text=True, check=True)
    assert "Capture application: tcplab\n" in done.stdout
    assert "Capture hardware" not in done.stdout
    assert "Capture oper-sys" not in done.stdout
    assert "Time precision = nanoseconds (9)" in done.stdout


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    captures = []
    for name in ("1", "2"):
        lossy_transfer(tmp_path / name)
        captures.append([path.read_bytes() for path in write_captures(tmp_path / name, tmp_path / f"pcap{name}")])
    assert captures[0] == captures[1]


def test_without_capture_there_are_no_files(tmp_path: Path) -> None:
    lossy_transfer(tmp_path / "s", capture=False)
    assert write_captures(tmp_path / "s", tmp_path / "pcap") == []
