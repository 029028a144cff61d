"""Topologies as pictures: SVG with a layout of our own, Mermaid, DOT."""
