"""The JSON schema of experiment files: `python -m lab.experiments.schema` writes experiments/schema.json."""

from __future__ import annotations

import json

from lab import spec
from lab.experiments.spec import Experiment
from lab.shipped import shipped_directory


def schema_text() -> str:
    """The schema as the file has it."""
    return json.dumps(spec.schema(Experiment, "tcplab experiment"), indent=2) + "\n"


if __name__ == "__main__":
    (shipped_directory("experiments") / "schema.json").write_text(schema_text(), "utf-8")
