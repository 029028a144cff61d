"""Labs whose nodes are containers."""
