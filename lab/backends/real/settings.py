"""Settings of applications on their way to a node's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab import spec
from nodes.apps.catalogue import APPS


def read_settings(kind: str, settings: Mapping[str, Any]) -> Any:
    """The settings of an application as its class has them, from what `spec.plain` made of them."""
    return spec.from_mapping(APPS[kind].Settings, settings)
