"""What a node of containerlab says, with what it inherits, and the node of ours that it becomes."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab import units
from lab.topology.file import HOST, LINUX, ROUTER, SWITCH
from lab.topology.importers.report import Report
from nodes.base.errors import InvalidArgument
from nodes.kernel import sysctls

#: Kinds that are no routers. Whatever is not here is the operating system of a router, a switch or a firewall.
_KINDS: Final = {
    "linux": LINUX,
    "bridge": SWITCH,
    "ovs-bridge": SWITCH,
    **dict.fromkeys(("keysight_ixia-c-one", "spirent_stc", "ostinato"), HOST),
    **dict.fromkeys(("freebsd", "openbsd", "generic_vm"), HOST),
}
_WHY: Final = {
    ROUTER: "becomes a router of tcplab: it forwards between its interfaces; its own system is not run and its "
    "configuration not read",
    HOST: "becomes a host of tcplab; its own system is not run",
    SWITCH: "becomes a switch of the lab; the bridge of that name on the machine is not touched",
}
#: Kinds that are no node of a lab, and why.
NO_NODES: Final = {
    "host": "the machine itself is no node of a lab, and its network is never touched",
    "ext-container": "a container that is not the lab's; only what tcplab makes is in a lab",
    "k8s-kind": "a Kubernetes cluster is no node; its members can be containers of kind linux",
    "border0": "it gives access from outside; `tcplab exec` and the API do that",
}
#: Fields of nodes that have no counterpart: why.
_NODE_IS_REACHED: Final = "nodes are reached by `tcplab exec LAB NODE`, `tcplab shell LAB` and the API, and have no "
_SYSTEM: Final = "belongs to the system that it runs there, which does not run here"
_DOCKERS: Final = "Docker's own setting; backend docker gives nodes what they need"
_FIELDS: Final = {
    **dict.fromkeys(("mgmt-ipv4", "mgmt-ipv6", "mgmt_ipv4", "mgmt_ipv6"), f"{_NODE_IS_REACHED}management network"),
    **dict.fromkeys(("ports", "publish"), f"{_NODE_IS_REACHED}network with the machine"),
    **dict.fromkeys(("dns", "aliases", "hostname"), "nodes know each other by name; there is no other DNS"),
    **dict.fromkeys(("startup-config", "enforce-startup-config", "suppress-startup-config", "config"), "not read"),
    **dict.fromkeys(("startup-delay", "stages", "wait-for"), "all nodes are there when `tcplab up` returns"),
    **dict.fromkeys(("healthcheck",), "`tcplab labs --ready` asks all nodes"),
    **dict.fromkeys(
        ("license", "certificate", "credentials", "type", "extras", "components"),
        _SYSTEM,
    ),
    **dict.fromkeys(("labels",), "Docker's labels; nodes here have none of their own"),
    **dict.fromkeys(("entrypoint",), "the image's own is kept; container.command says what it runs"),
    **dict.fromkeys(("env-files",), "give the variables in container.environment"),
    **dict.fromkeys(("user", "runtime", "cpu-set", "shm-size", "cap-add", "privileged", "cgroupns-mode"), _DOCKERS),
    **dict.fromkeys(("cgroup-parent", "pid-mode", "tmpfs", "security-opts", "devices", "image-pull-policy"), _DOCKERS),
    **dict.fromkeys(("restart-policy", "auto-remove", "link-apply-mode"), _DOCKERS),
    "network-mode": "each node has a network of its own, with the lab's links and nothing else",
}
#: Images whose containers are routers: the kernel must forward.
_ROUTING: Final = re.compile(r"frr|quagga|/bird|bird[:2]|vyos|openbgpd|gobgp|holo", re.IGNORECASE)
_KERNEL_TEXT: Final = re.compile(r"net\.ipv[46]\.|net\.core\.|net\.mpls\.")
_FORWARD: Final = "net.ipv4.ip_forward"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LISTS: Final = ("exec", "binds", "volumes", "ports")
_MAPS: Final = ("env", "labels", "sysctls")


def inherited(topology: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A node with its group's, its kind's and the defaults' settings under its own. Maps and lists add up."""
    own = _mapping(topology["nodes"].get(name), f"topology.nodes.{name}")
    defaults = _mapping(topology.get("defaults"), "topology.defaults")
    group_name = own.get("group") or defaults.get("group") or ""
    groups, kinds = (_mapping(topology.get(one), f"topology.{one}") for one in ("groups", "kinds"))
    group = _mapping(groups.get(str(group_name)), f"topology.groups.{group_name}")
    kind_name = own.get("kind") or group.get("kind") or defaults.get("kind")
    kind = _mapping(kinds.get(str(kind_name)), f"topology.kinds.{kind_name}")
    result: dict[str, Any] = {}
    for layer in (defaults, kind, group, own):
        for key, value in layer.items():
            if key in _MAPS and isinstance(value, dict):
                result[key] = {**result.get(key, {}), **value}
            elif key in _LISTS and isinstance(value, list):
                result[key] = [*result.get(key, ()), *value]
            elif value is not None:
                result[key] = value
    result["kind"] = str(kind_name or "")
    return result


def kind_of(settings: Mapping[str, Any]) -> str:
    """The kind of ours. Raises InvalidArgument without a kind."""
    return _KINDS.get(settings["kind"], ROUTER)


def describe(
    name: str, settings: Mapping[str, Any], commands: Mapping[str, Any], ours: bool, directory: Path, report: Report
) -> dict[str, Any]:
    """A node as our file has it. `commands` is what its exec said (`parameters`); with `ours` no node is of kind linux.

    `directory` is where the file is: binds are relative to it.
    """
    was, kind = settings["kind"], kind_of(settings)
    if was not in _KINDS:
        report.say(name, f"kind {was}", _WHY[ROUTER])
    elif kind != LINUX:
        report.say(name, f"kind {was}", _WHY[kind])
    result: dict[str, Any] = {"kind": kind}
    for field in settings:
        if field in _FIELDS and settings[field] not in ("", [], {}, False):
            report.say(name, field, _FIELDS[field])
        elif field not in _FIELDS and field not in _USED:
            report.say(name, field, "no such setting is known here")
    if kind == SWITCH:
        if was == "ovs-bridge":
            result["switch"] = "open-vswitch"
        return result
    if kind != LINUX:
        for field in ("image", "cmd", "env", "binds", "volumes", "memory", "cpu", "sysctls"):
            if settings.get(field):
                report.say(name, field, _SYSTEM)
        return result
    parameters = _parameters(name, {**_map(settings, "sysctls"), **commands}, report)
    if _FORWARD not in parameters and _ROUTING.search(str(settings.get("image", ""))):
        parameters[_FORWARD] = 1
        report.say(
            name, "image of a router", f"{_FORWARD} is set, and tcplab's routes are there before its daemons run"
        )
    if ours:
        result["kind"] = ROUTER if sysctls.forwards(parameters) else HOST
        report.say(name, "kind linux", "has tcplab's TCP, as asked; its image and what goes with it are not used")
        return result
    if parameters:
        result["parameters"] = parameters
    container = _container(name, settings, directory, report)
    if container:
        result["container"] = container
    return result


_USED: Final = ("kind", "group", "image", "cmd", "env", "binds", "volumes", "memory", "cpu", "sysctls", "exec")


def _parameters(name: str, given: Mapping[str, Any], report: Report) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for key, value in given.items():
        if not _KERNEL_TEXT.match(key) or "ipv6" in key:
            report.say(name, f"sysctl {key}", "only the network's can be set, and there is no IPv6")
            continue
        text = str(value).strip()
        found[key] = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
    return found


def _container(name: str, settings: Mapping[str, Any], directory: Path, report: Report) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if settings.get("image"):
        result["image"] = str(settings["image"])
    if settings.get("cmd"):
        try:
            result["command"] = shlex.split(str(settings["cmd"]))
        except ValueError as error:
            report.say(name, "cmd", f"cannot be read as a shell would: {error}")
    environment = {}
    for key, value in _map(settings, "env").items():
        if _VARIABLE.fullmatch(key):
            environment[key] = {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
        elif not key.startswith("__"):
            report.say(name, f"env {key}", "is no name of a variable")
    if environment:
        result["environment"] = environment
    volumes = [
        volume
        for field in ("binds", "volumes")
        for bind in settings.get(field) or ()
        if (volume := _volume(name, str(bind), directory if field == "binds" else None, report))
    ]
    if volumes:
        result["volumes"] = volumes
    if settings.get("memory"):
        memory = str(settings["memory"]).replace(" ", "").lower()
        with contextlib.suppress(InvalidArgument):
            result["memory"] = units.format_size(units.parse_size(memory))
        if "memory" not in result:
            report.say(name, "memory", f"{memory} is no size here; 512mb is")
    if settings.get("cpu"):
        cpus = str(settings["cpu"])
        if re.fullmatch(r"[0-9]+(\.[0-9]{1,3})?", cpus):
            result["cpus"] = cpus
        else:
            report.say(name, "cpu", f"{cpus} is no number of processors here; 0.5 is")
    return result


def _volume(name: str, bind: str, directory: Path | None, report: Report) -> str:
    source, _, rest = bind.partition(":")
    target, _, options = rest.partition(":")
    if not target.startswith("/"):
        report.say(name, f"bind {bind}", "names no file or volume to put there; SOURCE:/TARGET does")
        return ""
    if "__clabDir__" in source or "__clabNodeDir__" in source or "$" in source:
        report.say(name, f"bind {bind}", "a directory that containerlab makes; there is none here")
        return ""
    if directory is not None:  # else it is the name of a volume of Docker's
        source = str((directory / Path(source).expanduser()).absolute())
    mode = ":ro" if "ro" in options.split(",") else ""
    return f"{source}:{target}{mode}"


def _map(settings: Mapping[str, Any], field: str) -> dict[str, Any]:
    return _mapping(settings.get(field), field)


def _mapping(value: Any, path: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"{path}: is a mapping in a containerlab topology", path)
    return value
