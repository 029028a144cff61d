"""docs/conformance.md says what the tests show."""

from __future__ import annotations

from pathlib import Path

from .page import PAGE, marks, page, problems


def test_every_requirement_is_tested_or_deliberately_not_done() -> None:
    assert problems(marks()) == []


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == page(marks()), "python -m tests.conformance writes it"


def test_a_mark_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "tests" / "a").mkdir(parents=True)
    (tmp_path / "tests" / "a" / "test_it.py").write_text(
        "import pytest\n\n"
        '@pytest.mark.rfc("9293", "MUST-1", "MUST-2")\n@pytest.mark.slow\ndef test_one() -> None: ...\n\n'
        '@pytest.mark.rfc("6298", "2.1")\nclass TestTwo:\n'
        '    @pytest.mark.rfc("6298", "9.9")\n    def test_three(self) -> None: ...\n'
    )
    found = marks(tmp_path)
    assert {(mark.rfc, mark.number, mark.test) for mark in found} == {
        ("9293", "MUST-1", "tests/a/test_it.py::test_one"),
        ("9293", "MUST-2", "tests/a/test_it.py::test_one"),
        ("6298", "2.1", "tests/a/test_it.py::TestTwo"),
        ("6298", "9.9", "tests/a/test_it.py::test_three"),
    }
    wrong = problems(found)
    assert "tests/a/test_it.py::test_three: RFC 6298 9.9 is no requirement" in wrong
    assert "RFC 9293 MUST-3: no test, no reason" in wrong
    assert not any("MUST-1:" in problem for problem in wrong)
