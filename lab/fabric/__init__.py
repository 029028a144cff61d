"""What a lab in network namespaces stands on: namespaces, interfaces and what joins them, made by netlink and ioctl."""
