"""`tcplab graph`: topologies as pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.shipped import shipped_files
from lab.topology.drawing.dot import dot
from lab.topology.drawing.drawing import drawing
from lab.topology.drawing.layout import Pitch, layout
from lab.topology.drawing.mermaid import mermaid
from lab.topology.drawing.svg import svg
from lab.topology.loader import load_topology, topology_from_mapping
from lab.topology.model import Topology
from nodes.packet.address import address_text

RING = {
    "name": "ring",
    "nodes": {"h1": "host", "h2": "linux", **{f"r{number}": "router" for number in range(1, 5)}, "alone": "host"},
    "links": [
        *("h1-r1", "h2-r3", "r1-r2", "r2-r3", "r3-r4", "r4-r1", "r1-r2"),
        {"endpoints": "r1-r3", "delay": "5ms", "mtu": 9000, "directions": {"r1->r3": {"loss": "1%"}}},
    ],
}


def topologies() -> dict[str, Topology]:
    names = [*shipped_files("topologies"), "tree,3,2", "tree,2,3", "linear,3,2", "single,7", "dumbbell,5"]
    return {**{name: load_topology(name) for name in names}, "ring": topology_from_mapping(RING)}


ALL = topologies()
every = pytest.mark.parametrize("name", ALL)


def numbers(element: ElementTree.Element) -> tuple[int, int, int, int]:
    x, y, width, height = (int(element.attrib[key]) for key in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


@every
def test_svg_has_every_node_apart_and_inside(name: str) -> None:
    topology = ALL[name]
    root = ElementTree.fromstring(svg(drawing(topology)))
    x, y, width, height = map(int, root.attrib["viewBox"].split())
    names = [one.text for one in root.iter() if one.attrib.get("class") == "name"]
    assert names == list(topology.nodes)
    boxes = [numbers(one) for one in root.iter() if one.attrib.get("class") == "box"]
    assert len(boxes) == len(names)
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert x < left < right < x + width and y < top < bottom < y + height
        for other in boxes[:at]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
    links = [one for one in root.iter() if one.attrib.get("class") == "link"]
    assert len(links) == len(topology.links)


@every
def test_every_picture_tells_addresses_and_impairments(name: str) -> None:
    topology = ALL[name]
    drawn = drawing(topology)
    text = "\n".join("".join(one.itertext()) for one in ElementTree.fromstring(svg(drawn)).iter())
    for picture in (text, mermaid(drawn), dot(drawn)):
        for node in topology.nodes.values():
            assert node.name in picture
            for interface in node.interfaces[:4]:
                if interface.address:
                    assert f"{address_text(interface.address)}/{interface.prefix_len}" in picture
        for wire in topology.links.values():
            if wire.forward.delay_ns:
                assert f"delay {wire.forward.delay_ns // 1_000_000}ms" in picture


def test_directions_that_differ_are_told_apart() -> None:
    (edge,) = [one for one in drawing(ALL["ring"]).edges if one.words]
    assert edge.words == ("delay 5ms", "r1→r3 loss 1%", "mtu 9000")


def test_a_dumbbell_is_drawn_from_left_to_right() -> None:
    root = ElementTree.fromstring(svg(drawing(ALL["dumbbell"])))
    boxes = [numbers(one) for one in root.iter() if one.attrib.get("class") == "box"]
    x = dict(zip(ALL["dumbbell"].nodes, [box[0] + box[2] for box in boxes], strict=True))
    y = dict(zip(ALL["dumbbell"].nodes, [box[1] + box[3] for box in boxes], strict=True))
    assert x["h1"] == x["h2"] < x["r1"] < x["r2"] < x["h3"] == x["h4"]
    assert y["r1"] == y["r2"] and y["h1"] + y["h2"] == y["r1"] + y["r2"] == y["h3"] + y["h4"]


def test_a_tree_has_its_root_on_top_and_nothing_crosses() -> None:
    topology = load_topology("tree,3,2")
    order = {name: number for number, name in enumerate(topology.nodes)}
    edges = [(order[wire.a.node], order[wire.b.node]) for wire in topology.links.values()]
    places = layout(len(order), edges, Pitch(100, 50, 80, 100))
    rows = sorted({place.y for place in places})
    assert [sum(place.y == row for place in places) for row in rows] == [1, 2, 4, 8]
    for a, b in edges:
        for c, d in edges:
            top, low = sorted((places[a], places[b]), key=lambda place: place.y)
            up, down = sorted((places[c], places[d]), key=lambda place: place.y)
            if top.y == up.y and top.x < up.x:
                assert low.x <= down.x


@given(
    st.integers(1, 25).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=50))
    )
)
def test_no_two_nodes_are_in_one_place(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, edges = case
    pitch = Pitch(200, 50, 90, 120)
    places = layout(count, [(a, b) for a, b in edges if a != b], pitch)
    assert len(places) == count
    for at, one in enumerate(places):
        for other in places[:at]:
            assert abs(one.x - other.x) >= pitch.within or abs(one.y - other.y) >= pitch.across


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    said = set()
    for seed in ("0", "1", "77"):
        command = [sys.executable, "-m", "lab.cli.main", "graph", "parking-lot"]
        done = subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1


@pytest.mark.requires("dot")
@every
def test_graphviz_takes_the_dot(name: str) -> None:
    text = dot(drawing(ALL[name]))
    done = subprocess.run(["dot", "-Tplain"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert (words.count("node"), words.count("edge")) == (len(ALL[name].nodes), len(ALL[name].links))


@every
def test_mermaid_is_a_flowchart(name: str) -> None:
    """Its lines are those that Mermaid's grammar has for nodes and links; no quoted text has a quote inside."""
    first, *lines = mermaid(drawing(ALL[name])).splitlines()
    assert first == "flowchart LR"
    text = r'"[^"]+"'
    node = re.compile(rf"    n(\d+)(\(\({text}\)\)|\({text}\)|\[\[{text}\]\]|\[{text}\])")
    link = re.compile(rf"    n\d+ (---|-\.-)(\|{text}\|)? n\d+")
    nodes = len(ALL[name].nodes)
    assert [match[1] for line in lines[:nodes] if (match := node.fullmatch(line))] == [str(n) for n in range(nodes)]
    assert len(lines) == nodes + len(ALL[name].links) and all(link.fullmatch(line) for line in lines[nodes:])


def test_the_command_writes_what_the_file_ends_with(tmp_path: Path) -> None:
    def graph(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.cli.main", "graph", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    for file, begin in (("p.svg", "<svg "), ("p.mmd", "flowchart LR"), ("p.dot", 'graph "pair" {')):
        assert graph("pair", "-o", file).returncode == 0
        assert (tmp_path / file).read_text("utf-8").startswith(begin)
    wrong = graph("pair", "--format", "png")
    assert wrong.returncode == 2 and "svg, mermaid, dot" in wrong.stderr
    assert graph("nowhere").returncode == 2
