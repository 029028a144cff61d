# Made by tools/sync_client.py from tcplab/client/aio/app.py: change it there.
"""Applications in a lab."""

from __future__ import annotations

from tcplab.client.errors import make
from tcplab.client.sync.operation import Clock
from tcplab.v1 import app_pb2, lab_pb2


class App:
    """An application on a node; `message` is what was last known of it."""

    def __init__(self, clock: Clock, message: app_pb2.App) -> None:
        self._clock = clock
        self._rpc = clock.rpc
        self.message = message

    @property
    def name(self) -> str:
        """Its name in the lab."""
        return self.message.name.rpartition("/")[2]

    def refresh(self) -> app_pb2.App:
        """What has become of it, asked now."""
        self.message = self._rpc.call(self._rpc.apps.GetApp, app_pb2.GetAppRequest(name=self.message.name))
        return self.message

    def wait(self) -> dict[str, str]:
        """Let time pass until it has ended; its results. Raises what it failed with."""
        if not (self.refresh()).done:
            self._clock.advance(lab_pb2.AdvanceRequest(apps=[self.message.name]))
        error = (self.refresh()).error
        if error:
            raise make("FAILED_PRECONDITION", f"app {self.name} ended with {error}", reason=error)
        return dict(self.message.results)

    def results(self) -> dict[str, str]:
        """Its results so far, asked now."""
        return dict((self.refresh()).results)

    def stop(self) -> None:
        """Cancel it; it closes what it holds."""
        self.message = self._rpc.call(self._rpc.apps.StopApp, app_pb2.StopAppRequest(name=self.message.name))

    def __repr__(self) -> str:
        return f"<app {self.name}>"
