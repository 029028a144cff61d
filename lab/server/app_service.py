"""AppService: applications on the nodes of a lab."""

from __future__ import annotations

import json

from lab import spec
from lab.backends.base import AppInfo
from lab.server import convert, names
from lab.server.host import LabHost
from lab.server.pages import page
from lab.server.serving import Context
from nodes.apps.catalogue import APPS
from nodes.base.errors import InvalidArgument, NotFound
from tcplab.v1 import app_pb2


class AppKinds:
    """The kinds there are; no lab is needed to know them."""

    def ListAppKinds(self, request: app_pb2.ListAppKindsRequest, context: Context) -> app_pb2.ListAppKindsResponse:
        kinds = [
            app_pb2.AppKind(
                name=kind,
                description=(cls.__doc__ or "").strip().partition("\n")[0],
                settings_schema=json.dumps(spec.schema(cls.Settings, kind)),
            )
            for kind, cls in sorted(APPS.items())
        ]
        return app_pb2.ListAppKindsResponse(kinds=kinds)


class AppService:
    def __init__(self, host: LabHost) -> None:
        self.host = host
        self.lab = host.lab
        self._settings: dict[str, dict[str, str]] = {}  # as they were given, by app

    def CreateApp(self, request: app_pb2.CreateAppRequest, context: Context) -> app_pb2.App:
        if request.app_id:
            names.check_id(request.app_id, "app_id")
        node = names.inside(self.host.name, names.NODE, request.app.node, "app.node")
        try:
            info = self.lab.start_app(node, request.app.kind, convert.settings(request.app.settings), request.app_id)
        except InvalidArgument as error:
            if error.field.startswith("app.") or not error.field:
                raise
            field = "app.kind" if error.field == "kind" else f"app.settings.{error.field}"
            raise InvalidArgument(f"{field}: {error}", field) from None
        self._settings[info.name] = dict(request.app.settings)
        return self._message(info)

    def GetApp(self, request: app_pb2.GetAppRequest, context: Context) -> app_pb2.App:
        return self._message(self._app(names.parts_of(request)[1]))

    def ListApps(self, request: app_pb2.ListAppsRequest, context: Context) -> app_pb2.ListAppsResponse:
        apps, token = page(self.lab.apps.values(), request)
        return app_pb2.ListAppsResponse(apps=[self._message(one) for one in apps], next_page_token=token)

    def StopApp(self, request: app_pb2.StopAppRequest, context: Context) -> app_pb2.App:
        name = names.parts_of(request)[1]
        self.lab.stop_app(name)
        return self._message(self._app(name))

    def _app(self, name: str) -> AppInfo:
        found = self.lab.apps.get(name)
        if found is None:
            raise NotFound(f"{name!r} is no app of this lab; there are {', '.join(self.lab.apps) or 'none'}")
        return found

    def _message(self, info: AppInfo) -> app_pb2.App:
        return convert.app(self.host.name, info, self._settings.get(info.name, {}))
