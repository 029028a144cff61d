from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from lab.trace.plot import plot
from lab.trace.spool import SpoolWriter
from nodes.base.errors import FailedPrecondition


def test_plots_are_png_files_of_a_readable_size_and_repeat(spool: Path, tmp_path: Path) -> None:
    first = plot(spool, tmp_path / "1")
    assert [path.name for path in first] == ["h1-1-cwnd.png", "h1-1-rtt.png", "h1-1-sequence.png", "h1-2-sequence.png"]
    for path in first:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert 1000 <= width <= 2000 and 500 <= height <= 1500
        assert b"matplotlib" not in data.lower()
    second = plot(spool, tmp_path / "2")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_nothing_to_plot_is_said(tmp_path: Path) -> None:
    SpoolWriter(tmp_path / "s").close()
    with pytest.raises(FailedPrecondition, match="nothing to plot"):
        plot(tmp_path / "s", tmp_path / "plots")


def test_without_matplotlib_the_error_names_the_extra(spool: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from lab.trace.plot import plot\n"
        f"plot({str(spool)!r}, {str(tmp_path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "FailedPrecondition: plots need matplotlib" in done.stderr
    assert "pip install 'tcplab[plots]'" in done.stderr
