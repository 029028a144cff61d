"""Labs in real time, in network namespaces of this machine."""
