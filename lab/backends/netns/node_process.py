"""The process of a node with our stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab import spec
from nodes.apps.catalogue import APPS


def read_settings(kind: str, settings: Mapping[str, Any]) -> Any:
    """The settings of an application as its class has them."""
    return spec.from_mapping(APPS[kind].Settings, settings)
