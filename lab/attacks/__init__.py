"""Attacks on connections: one file each, one packet forge for all."""
