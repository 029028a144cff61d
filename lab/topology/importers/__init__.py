"""Topologies of other tools as descriptions of ours, each with a report of what has no counterpart."""
