"""Write docs/conformance.md."""

from __future__ import annotations

import sys

from .page import PAGE, marks, page, problems

found = marks()
PAGE.write_text(page(found))
for problem in problems(found):
    print(problem)
sys.exit(1 if problems(found) else 0)
