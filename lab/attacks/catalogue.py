"""The attacks there are, by the name that selects them in files."""

from __future__ import annotations

from typing import Final

from lab.attacks.base import AttackSpec
from lab.attacks.blind_rst import BlindRst
from lab.attacks.on_path_rst import OnPathRst

ATTACKS: Final[dict[str, type[AttackSpec]]] = {cls.kind: cls for cls in (OnPathRst, BlindRst)}
