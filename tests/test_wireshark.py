"""Every shipped experiment's captures, as Wireshark's dissectors see them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from tests.runs import SHIPPED, run_experiment

OUTBOUND = "2"
RESEND_FLAGS = ("retransmission", "fast_retransmission", "spurious_retransmission", "out_of_order")
FIELDS = (
    "frame.packet_flags_direction",
    "frame.comment",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "icmp.type",
    "icmpv6.type",
    "_ws.malformed",
    "tcp.flags.str",
    *(f"tcp.analysis.{flag}" for flag in RESEND_FLAGS),
)
BAD = "0"
#: Experiments that no interface sees anything of.
WITHIN_A_HOST = ("self-connect",)
#: Messages that quote a packet, cut, so that the checksum inside cannot be verified (Wireshark 4.0 tries all the same).
QUOTING = {"icmp.type": ("3", "11"), "icmpv6.type": ("1", "2", "3", "4")}


@dataclass(frozen=True)
class Packet:
    """One packet of a capture: the wanted fields by name, as tshark prints them."""

    number: int
    fields: dict[str, str]

    @property
    def outbound(self) -> bool:
        return int(self.fields["frame.packet_flags_direction"] or "0", 0) == int(OUTBOUND)

    @property
    def flagged_as_resent(self) -> bool:
        return any(self.fields[f"tcp.analysis.{flag}"] for flag in RESEND_FLAGS)


def dissect(capture: Path) -> list[Packet]:
    command = ["tshark", "-r", str(capture), "-T", "fields", "-E", "separator=\x1f", "-E", "occurrence=a"]
    for protocol in ("ip", "tcp", "udp"):
        command += ["-o", f"{protocol}.check_checksum:TRUE"]
    for field in FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    return [Packet(n, dict(zip(FIELDS, line.split("\x1f"), strict=True))) for n, line in enumerate(lines, 1)]


@pytest.mark.slow
@pytest.mark.requires("tshark")
@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in WITHIN_A_HOST])
def test_wireshark_agrees_with_the_trace(name: str, tmp_path: Path) -> None:
    bundle = run_experiment(name, tmp_path / name)
    segments = parquet.read_table(bundle / "tables" / "segments.parquet").to_pylist()
    captures = sorted((bundle / "pcap").glob("*.pcapng"))
    assert captures
    for capture in captures:
        packets = dissect(capture)
        for packet in packets:
            assert not packet.fields["_ws.malformed"], (capture.name, packet)
            bad = [field for field in FIELDS if field.endswith("checksum.status") and packet.fields[field] == BAD]
            if any(packet.fields[field] in kinds for field, kinds in QUOTING.items()):
                bad = [field for field in bad if field.startswith("icmp")]
            assert not bad or "corrupted" in packet.fields["frame.comment"].lower(), (capture.name, packet)
        node, interface = capture.stem.split("-", 1)
        sent = [packet for packet in packets if packet.outbound]
        resent = {
            row["frame"]
            for row in segments
            if row["direction"] == "SENT" and row["interface"] == f"{node}:{interface}" and row["resent"]
        }
        if not any(row["interface"] == f"{node}:{interface}" and row["direction"] == "SENT" for row in segments):
            continue  # a router's or a switch's interface: it is not the sender
        flagged = {ordinal for ordinal, packet in enumerate(sent, 1) if packet.flagged_as_resent}
        assert flagged == resent, capture.name
