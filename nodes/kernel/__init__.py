"""Nodes whose TCP is the Linux kernel's, in a network namespace of their own."""
