"""Every MUST and SHOULD of TCP's RFCs, and the tests that show it: `python -m tests.conformance` writes the page."""
