from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.trace.synthetic import lossy_transfer


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """The spool of the made-up run."""
    path = tmp_path / "events.spool"
    lossy_transfer(path)
    return path
