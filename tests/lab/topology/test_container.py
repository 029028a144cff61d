"""What topology files say of containers."""

from __future__ import annotations

import pytest

from lab.topology.loader import topology_from_mapping, topology_from_text
from nodes.base.errors import InvalidArgument


def test_settings_of_a_container_are_inherited_field_by_field() -> None:
    topology = topology_from_text(
        """
        defaults: {container: {memory: 64mb, environment: {A: 1}}}
        kinds: {linux: {container: debian}}
        groups: {small: {container: {cpus: 0.25, environment: {B: two}}}}
        nodes:
          h1: {kind: linux, group: small, container: {memory: 128mb, command: [sleep, 1h]}}
          h2: {container: {volumes: ["/srv:/srv:ro", "data:/data"]}}
        links: [h1-h2]
        """
    )
    one = topology.nodes["h1"].container
    assert (one.image, one.command, one.memory, one.milli_cpus) == ("debian", ("sleep", "1h"), 128 << 20, 250)
    assert one.environment == {"A": "1", "B": "two"}
    two = topology.nodes["h2"].container
    assert (two.image, two.memory, two.volumes) == ("", 64 << 20, ("/srv:/srv:ro", "data:/data"))
    assert topology_from_mapping(dict(topology.spec)) == topology


@pytest.mark.parametrize(
    ("node", "field"),
    [
        ("{kind: linux, container: {memory: 1mb}}", "nodes.h1.container.memory"),
        ("{kind: linux, container: {cpus: 0.000}}", "nodes.h1.container.cpus"),
        ("{kind: linux, container: {cpus: many}}", "nodes.h1.container.cpus"),
        ("{kind: linux, container: {volumes: [/srv]}}", "nodes.h1.container.volumes[0]"),
        ("{kind: linux, container: {environment: {2x: y}}}", "nodes.h1.container.environment"),
        ("{kind: linux, container: {imago: y}}", "nodes.h1.container.imago"),
        ("{container: {command: sleep}}", "nodes.h1.container.command"),
        ("{kind: switch, container: debian}", "nodes.h1.container"),
    ],
)
def test_what_is_wrong_is_named(node: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        topology_from_text(f"nodes: {{h1: {node}}}\n")
    assert caught.value.field == field
