"""Topologies from files, text, mappings, shipped names and generators."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any, Final

from lab import fieldpath, spec
from lab.shipped import shipped_files
from lab.topology.build import build
from lab.topology.file import TopologySpec
from lab.topology.generators import GENERATORS, generate
from lab.topology.model import Topology
from lab.topology.sources import Sources
from nodes.base.errors import InvalidArgument, NotFound

#: No files but those beside a file that lists them.
NONE: Final = Sources()


def load_topology(argument: str | Path) -> Topology:
    """What a command line takes: a file (with a `/`, or ending in .yaml or .yml), else what `find_topology` knows.

    Raises NotFound, and InvalidArgument with file, line and field.
    """
    text = str(argument)
    if isinstance(argument, Path) or "/" in text or "\\" in text or text.endswith((".yaml", ".yml")):
        return _read(spec.read_file(argument), Path(argument).stem, NONE)
    return find_topology(text)


def find_topology(name: str, sources: Sources = NONE) -> Topology:
    """A shipped topology by name, or a generator such as `linear,3`; `sources` are more files of congestion controls.
    Reads no other file. Raises NotFound."""
    shipped = shipped_files("topologies")
    if name in shipped:
        return _read(spec.read_file(shipped[name]), name, sources)
    generated = generate(name)
    if generated is not None:
        return _read(spec.wrap(generated), "", sources)
    near = difflib.get_close_matches(name, shipped, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(shipped) or 'none'}"
    usages = ", ".join(usage for _, usage, _, _ in GENERATORS.values())
    raise NotFound(f"no topology {name!r}; {hint}; and generators: {usages}; a file is named with its .yaml")


def topology_from_text(text: str, source: str = "", sources: Sources = NONE) -> Topology:
    """From YAML text; `source` is the file name that errors show, `sources` are the files of congestion controls."""
    return _read(spec.read_text(text, source), Path(source).stem, sources)


def topology_from_mapping(data: Any, source: str = "") -> Topology:
    """From plain data: what a file would hold."""
    return _read(spec.wrap(data, source), "", NONE)


def topology_from_value(value: spec.Value, path: str = "") -> Topology:
    """From a value inside another file (an experiment's `topology:`), at `path` there: a name or a mapping."""
    if not isinstance(value.data, str):
        return _read(value, "", NONE, path)
    try:
        return find_topology(value.data)
    except (NotFound, InvalidArgument) as error:
        if isinstance(error, InvalidArgument) and error.line:
            raise
        raise value.error(path, str(error)) from None


def _read(value: spec.Value, name: str, sources: Sources, path: str = "") -> Topology:
    sources.supply(value, path)
    topology = spec.parse(TopologySpec, value, path)
    if not topology.name:
        topology = dataclasses.replace(topology, name=name)
    try:
        return build(topology)
    except InvalidArgument as error:
        raise fieldpath.at(value, error.field).error(
            f"{path}.{error.field}" if path else error.field, str(error)
        ) from None
