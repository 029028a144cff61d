"""Topologies: nodes, links, addresses; read from YAML or generated."""
