"""The build backend: setuptools, and mypy where a C compiler can make use of it (setup.py compiles the hot code)."""

from __future__ import annotations

from typing import Any

from compiler import no_compiler
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

MYPYC = "mypy[mypyc]>=2"


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    required = build_meta.get_requires_for_build_wheel(config_settings)
    return required if no_compiler() else [*required, MYPYC]
