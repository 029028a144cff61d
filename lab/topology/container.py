"""What a topology file says of a node's container: backend docker reads it, the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

from lab import spec
from nodes.base.errors import InvalidArgument

_LEAST_MEMORY: Final = 6 << 20
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_VOLUME: Final = r"[^:]+:/[^:]*(:ro|:rw)?"


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A node's container. On backend docker; elsewhere nothing of it is used."""

    short: ClassVar[str] = "image"
    image: str = spec.text(default="", doc="Name of the image. tcplab's own when not given; kind linux takes any.")
    command: tuple[str, ...] = spec.of(
        spec.Items(spec.Text(), bare=True),
        default=(),
        doc="Kind linux: what the container runs, a program and its arguments. The image's own when not given.",
    )
    environment: dict[str, str] = spec.of(
        spec.Map(spec.Text(), _VARIABLE, "a variable's name: letters, digits, _"),
        default={},
        doc="Variables of its processes.",
    )
    volumes: tuple[str, ...] = spec.of(
        spec.Items(spec.Text(_VOLUME, "SOURCE:/TARGET, SOURCE:/TARGET:ro or :rw")),
        default=(),
        doc="Directories and files of the machine (by absolute path), or Docker's volumes (by name), and where they "
        "are in the container.",
    )
    memory: int = spec.size(default=0, minimum=0, doc="The most it may use; at least 6mb. No limit when not given.")
    cpus: str = spec.text(
        default="",
        pattern=r"[0-9]+(\.[0-9]{1,3})?",
        what="a number of processors such as 0.5",
        doc="The most it may use.",
    )

    @property
    def milli_cpus(self) -> int:
        """Thousandths of a processor; 0: no limit."""
        whole, _, part = self.cpus.partition(".")
        return int(whole or 0) * 1000 + int(f"{part}000"[:3])

    def with_fields(self, named: Mapping[str, Any], path: str) -> Self:
        """With these instead of its own; variables of its environment stay beside them. Raises InvalidArgument."""
        environment = {**self.environment, **named.get("environment", {})}
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        made = type(self)(**{**own, **named, "environment": environment})
        if 0 < made.memory < _LEAST_MEMORY:
            raise InvalidArgument(f"{made.memory} bytes are less than the 6mb that Docker allows", f"{path}.memory")
        if made.cpus and not made.milli_cpus:
            raise InvalidArgument(f"{made.cpus} is no processor at all; 0.001 is allowed", f"{path}.cpus")
        return made


#: What nothing is said of.
DEFAULT: Final = ContainerSpec()
