"""The JSON schema of topology files: `python -m lab.topology.schema` writes topologies/schema.json."""

from __future__ import annotations

import json

from lab import spec
from lab.shipped import shipped_directory
from lab.topology.file import TopologySpec


def schema_text() -> str:
    """The schema as the file has it."""
    return json.dumps(spec.schema(TopologySpec, "tcplab topology"), indent=2) + "\n"


if __name__ == "__main__":
    (shipped_directory("topologies") / "schema.json").write_text(schema_text())
