"""A program: `every_experiment.py DIRECTORY` runs each shipped experiment for virtual time, one after the other in one
process, with the Python that runs it and the tcplab that this finds (-P: tests/lab is not it). Each leaves its run in
DIRECTORY/<name>."""

from __future__ import annotations

import sys

from lab.cli.main import app
from lab.experiments.spec import backends_of
from lab.shipped import shipped_files
from lab.spec import read_file

for name, path in shipped_files("experiments").items():
    if "sim" in backends_of(read_file(path)):
        code = app(["run", name, "--out", f"{sys.argv[1]}/{name}"], standalone_mode=False)
        if code:
            sys.exit(f"{name}: exit code {code}")
