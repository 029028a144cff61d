"""Scripts of packetdrill's language, run against our stack in virtual time."""
