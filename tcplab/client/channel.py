"""How to reach a controller: address, certificate, token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

#: Events and payloads come in big messages.
OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@dataclass(frozen=True)
class Target:
    """`address` is `unix:/path` or `host:port`. `ca` is the file of the certificate that signs the controller's: with
    it the channel is encrypted. `token` goes with every call. `deadline` is the longest that a call may take, wall
    seconds; streams have none."""

    address: str
    ca: Path | None = None
    token: str = ""
    deadline: float | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def credentials(self) -> grpc.ChannelCredentials | None:
        """None: not encrypted."""
        return grpc.ssl_channel_credentials(self.ca.read_bytes()) if self.ca is not None else None
