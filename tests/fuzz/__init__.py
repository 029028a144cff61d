"""Fuzzing of the stack: `python -m tests.fuzz --help`; a short version runs with the tests."""
