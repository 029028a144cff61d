"""Names of resources: their forms, and which field of each request holds one."""

from __future__ import annotations

import re
from typing import Any, Final

from google.protobuf.message import Message

from nodes.base.errors import InvalidArgument

ID_WORDS: Final = "a small letter, then up to 62 small letters, digits or hyphens"
_NUMBERS: Final = ("connection", "listener")
_NUMBER: Final = "([1-9][0-9]{0,9})"
_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")


class Form:
    """The form of a resource name, such as `labs/{lab}/nodes/{node}`; parts named in `_NUMBERS` are numbers."""

    def __init__(self, text: str) -> None:
        self.text = text
        pattern = re.sub(r"\{(\w+)\}", lambda part: _NUMBER if part[1] in _NUMBERS else "([^/]{1,200})", text)
        pattern = pattern.replace(" or ", "|")
        self._match = re.compile(pattern).fullmatch

    def parse(self, name: str, field: str) -> tuple[str, ...]:
        """The parts in braces. Raises InvalidArgument naming the form."""
        match = self._match(name)
        if match is None:
            raise InvalidArgument(f"{field}: {name[:200]!r} is not of the form {self.text}", field)
        return tuple(part for part in match.groups() if part is not None)


LAB: Final = Form("labs/{lab}")
NODE: Final = Form("labs/{lab}/nodes/{node}")
CONNECTION: Final = Form("labs/{lab}/nodes/{node}/connections/{connection}")
LISTENER: Final = Form("labs/{lab}/nodes/{node}/listeners/{listener}")
LINK: Final = Form("labs/{lab}/links/{link}")
RULE: Final = Form("labs/{lab}/links/{link}/rules/{rule}")
OPERATION: Final = Form("labs/{lab}/operations/{operation}")
ATTACK: Final = Form("labs/{lab}/attacks/{attack}")
APP: Final = Form("labs/{lab}/apps/{app}")
RUN: Final = Form("runs/{run}")
LAB_OR_RUN: Final = Form("labs/{lab} or runs/{run}")

#: By the name of a request: the field that names what it is about, and its form.
REQUESTS: Final[dict[str, tuple[str, Form]]] = {
    "GetLabRequest": ("name", LAB),
    "DeleteLabRequest": ("name", LAB),
    "AdvanceRequest": ("lab", LAB),
    "GetNodeRequest": ("name", NODE),
    "ListNodesRequest": ("parent", LAB),
    "UpdateParametersRequest": ("name", NODE),
    "GetCountersRequest": ("name", NODE),
    "ReadLogsRequest": ("name", NODE),
    "PingRequest": ("node", NODE),
    "ExecRequest": ("start.node", NODE),
    "OpenRequest": ("node", NODE),
    "ListenRequest": ("node", NODE),
    "CloseListenerRequest": ("listener", LISTENER),
    "ListListenersRequest": ("parent", NODE),
    "AcceptRequest": ("listener", LISTENER),
    "SendRequest": ("connection", CONNECTION),
    "ReceiveRequest": ("connection", CONNECTION),
    "ShutdownRequest": ("connection", CONNECTION),
    "CloseRequest": ("connection", CONNECTION),
    "AbortRequest": ("connection", CONNECTION),
    "GetConnectionRequest": ("name", CONNECTION),
    "ListConnectionsRequest": ("parent", NODE),
    "WaitReadyRequest": ("connection", CONNECTION),
    "LingerRequest": ("connection", CONNECTION),
    "GetOptionRequest": ("connection", CONNECTION),
    "SetOptionRequest": ("connection", CONNECTION),
    "GetOperationRequest": ("name", OPERATION),
    "ListOperationsRequest": ("parent", LAB),
    "CancelOperationRequest": ("name", OPERATION),
    "GetLinkRequest": ("name", LINK),
    "ListLinksRequest": ("parent", LAB),
    "UpdateLinkRequest": ("link.name", LINK),
    "GetLinkStatisticsRequest": ("name", LINK),
    "CreateRuleRequest": ("parent", LINK),
    "ListRulesRequest": ("parent", LINK),
    "DeleteRuleRequest": ("name", RULE),
    "CreateAttackRequest": ("parent", LAB),
    "GetAttackRequest": ("name", ATTACK),
    "ListAttacksRequest": ("parent", LAB),
    "StopAttackRequest": ("name", ATTACK),
    "WatchAttackRequest": ("name", ATTACK),
    "CreateAppRequest": ("parent", LAB),
    "GetAppRequest": ("name", APP),
    "ListAppsRequest": ("parent", LAB),
    "StopAppRequest": ("name", APP),
    "FollowTraceRequest": ("lab", LAB),
    "QueryTraceRequest": ("parent", LAB_OR_RUN),
    "ListFlowsRequest": ("parent", LAB_OR_RUN),
    "CaptureRequest": ("lab", LAB),
    "GetRunRequest": ("name", RUN),
    "WatchRunRequest": ("name", RUN),
    "DeleteRunRequest": ("name", RUN),
    "ListFilesRequest": ("parent", RUN),
    "ReadFileRequest": ("run", RUN),
}


def resource_of(request: Message) -> str:
    """The name that a request is about; "" when it has none."""
    found = REQUESTS.get(type(request).__name__)
    value: Any = request
    for step in found[0].split(".") if found else ():
        value = getattr(value, step)
    return value if isinstance(value, str) else ""


def parts_of(request: Message) -> tuple[str, ...]:
    """The parts of the name that a request is about, the lab (or run) first. Raises InvalidArgument."""
    field, form = REQUESTS[type(request).__name__]
    return form.parse(resource_of(request), field)


def inside(lab: str, form: Form, name: str, field: str) -> str:
    """The last part of a name that must be of the same lab. Raises InvalidArgument."""
    parts = form.parse(name, field)
    if parts[0] != lab:
        raise InvalidArgument(f"{field}: {name} is in another lab; this one is labs/{lab}", field)
    return parts[-1]


def check_id(text: str, field: str) -> None:
    """That an id can be the last part of a name. Raises InvalidArgument."""
    if not _ID.fullmatch(text):
        raise InvalidArgument(f"{field}: {text[:80]!r} is not {ID_WORDS}", field)
