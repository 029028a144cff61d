"""What a packet object holds, whether its class is compiled or not (a compiled one has no `__slots__`)."""

from __future__ import annotations


def fields(packet: object) -> dict[str, object]:
    """Its attributes and properties by name."""
    return {name: getattr(packet, name) for name in dir(packet) if not name.startswith("_")}
