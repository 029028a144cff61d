"""The one way decoding fails."""

from __future__ import annotations

from nodes.base.errors import TcplabError


class MalformedPacket(TcplabError):
    """These bytes are not a packet of the kind asked for; the message says which field is wrong. Decoders raise
    nothing else, whatever bytes they are given."""
