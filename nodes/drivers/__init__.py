"""What ties a host to the machine: packet sockets on real interfaces."""
