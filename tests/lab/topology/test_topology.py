"""Topologies: what files mean, addresses and routes, generators, shipped ones, and every way a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from lab.shipped import shipped_directory, shipped_files
from lab.topology.file import ROUTER, SWITCH
from lab.topology.loader import find_topology, load_topology, topology_from_mapping, topology_from_text
from lab.topology.model import Interface, Topology
from lab.topology.schema import schema_text
from nodes.base.errors import InvalidArgument, NotFound
from nodes.packet.address import address_text

SHIPPED = ("dumbbell", "pair-attacker", "pair", "parking-lot", "router-chain", "shared-lan-attacker", "star")


def addresses(topology: Topology) -> dict[str, list[str]]:
    return {
        node.name: [f"{address_text(one.address)}/{one.prefix_len}" for one in node.interfaces]
        for node in topology.nodes.values()
        if node.kind != SWITCH
    }


def network(interface: Interface) -> int:
    return int.from_bytes(interface.address, "big") >> (32 - interface.prefix_len)


def route_to(topology: Topology, start: str, target: str) -> list[str]:
    """The nodes that a packet from one node to another passes, by the routes given to each; fails when it gets lost."""
    goal = topology.nodes[target].interfaces[0]
    everyone = {one.address: one for node in topology.nodes.values() for one in node.interfaces if one.address}
    path = [start]
    while path[-1] != target:
        node = topology.nodes[path[-1]]
        assert len(path) < 20 and (len(path) == 1 or node.kind == ROUTER)
        if network(goal) in [network(one) for one in node.interfaces]:
            path.append(target)
            continue
        bits = int.from_bytes(goal.address, "big")
        fitting = [
            route
            for route in node.routes
            if (bits ^ int.from_bytes(route.network, "big")) >> (32 - route.prefix_len) == 0
        ]
        assert len(fitting) == 1, f"{path[-1]} has {len(fitting)} routes to {target}"
        gateway = everyone[fitting[0].via]
        assert network(node.interfaces[fitting[0].interface]) == network(gateway), "the gateway is not on that subnet"
        path.append(gateway.node)
    return path


def test_hosts_on_switches_share_one_subnet_numbered_in_order() -> None:
    assert addresses(find_topology("linear,3")) == {"h1": ["10.0.0.1/24"], "h2": ["10.0.0.2/24"], "h3": ["10.0.0.3/24"]}


def test_each_link_of_routers_is_a_subnet() -> None:
    assert addresses(find_topology("router-chain")) == {
        "h1": ["10.0.1.1/24"],
        "r1": ["10.0.1.2/24", "10.0.2.1/24"],
        "r2": ["10.0.2.2/24", "10.0.3.1/24"],
        "r3": ["10.0.3.2/24", "10.0.4.1/24"],
        "h2": ["10.0.4.2/24"],
    }


def test_macs_and_addresses_are_unique_and_no_switch_has_any() -> None:
    topology = find_topology("tree,2,3")
    interfaces = [one for node in topology.nodes.values() for one in node.interfaces if node.kind != SWITCH]
    assert len({one.mac for one in interfaces}) == len({one.address for one in interfaces}) == len(interfaces) == 9
    assert all(one.mac[0] & 3 == 2 for one in interfaces)  # locally administered, not a group
    assert all(one.address == one.mac == b"" for name in ("s1", "s2") for one in topology.nodes[name].interfaces)


@pytest.mark.parametrize("name", [*SHIPPED, "dumbbell,3", "linear,2,3", "tree,2", "star,5"])
def test_every_host_reaches_every_other(name: str) -> None:
    topology = find_topology(name)
    hosts = [node.name for node in topology.nodes.values() if node.kind == "host"]
    for one in hosts:
        for other in hosts:
            if one != other:
                assert route_to(topology, one, other)[-1] == other


def test_routes_take_the_fewest_hops() -> None:
    topology = topology_from_text("""
nodes: {h1: host, r1: router, r2: router, r3: router, h2: host}
links: [h1-r1, r1-r2, r2-r3, r1-r3, r3-h2]
""")
    assert route_to(topology, "h1", "h2") == ["h1", "r1", "r3", "h2"]
    assert route_to(topology, "h2", "h1") == ["h2", "r3", "r1", "h1"]


def test_a_host_does_not_forward() -> None:
    topology = topology_from_text("nodes: {h1: , h2: , h3: }\nlinks: [h1-h2, h2-h3]")
    assert topology.nodes["h1"].routes == ()


def test_a_large_segment_gets_a_shorter_prefix() -> None:
    topology = find_topology("star,300")
    assert topology.nodes["h300"].interfaces[0].prefix_len == 23
    assert address_text(topology.nodes["h300"].interfaces[0].address) == "10.0.1.44"


def test_given_addresses_decide_the_subnet_and_the_others_step_aside() -> None:
    topology = topology_from_text("""
nodes:
  h1: {interfaces: {eth0: 10.0.1.9/24}}
  h2: {interfaces: {eth0: {mac: "02:aa:bb:cc:dd:ee"}}}
  h3:
  r1: router
links: [h1-r1, h2-r1, h3-r1]
""")
    assert addresses(topology) == {
        "h1": ["10.0.1.9/24"],
        "h2": ["10.0.2.1/24"],
        "h3": ["10.0.3.1/24"],
        "r1": ["10.0.1.1/24", "10.0.2.2/24", "10.0.3.2/24"],
    }
    assert topology.nodes["h2"].interfaces[0].mac == bytes.fromhex("02aabbccddee")


def test_settings_are_inherited_defaults_kinds_groups_node() -> None:
    topology = topology_from_text("""
defaults: {parameters: {tcp_syn_retries: 1, tcp_retries2: 1, tcp_delack_ms: 1, tcp_reordering: 3}}
kinds:
  host: {parameters: {tcp_retries2: 2, tcp_delack_ms: 2, profile: rfc}}
  router: {parameters: {ip_default_ttl: 9}}
groups: {fast: {parameters: {tcp_delack_ms: 3}}, core: {kind: router}}
nodes:
  h1: {group: fast, parameters: {tcp_reordering: 4}}
  r1: {group: core}
""")
    assert dict(topology.nodes["h1"].parameters) == {
        "profile": "rfc",
        "tcp_syn_retries": 1,
        "tcp_retries2": 2,
        "tcp_delack_ms": 3,
        "tcp_reordering": 4,
    }
    assert next(iter(topology.nodes["h1"].parameters)) == "profile"
    router = topology.nodes["r1"]
    assert router.kind == ROUTER
    assert router.parameters["ip_default_ttl"] == 9 and router.parameters["ip_forward"] == 1


def test_links_take_impairments_both_ways_or_one_way() -> None:
    topology = topology_from_text("""
link_defaults: {delay: 1ms, rate: 10mbit}
nodes: {h1: , h2: , h3: }
links:
  - h1-h2
  - endpoints: [h2:wan, h3:eth7]
    name: long
    mtu: 1400
    delay: 20ms
    directions: {h3->h2: {loss: 1%, delay: 30ms}}
  - h1-h2
""")
    assert list(topology.links) == ["h1-h2", "long", "h1-h2-2"]
    first, long, _ = topology.links.values()
    assert first.forward == first.backward
    assert first.forward.words() == "delay 1ms rate 10mbit"
    assert long.forward.words() == "delay 20ms rate 10mbit"
    assert long.backward.words() == "delay 30ms loss 1% rate 10mbit"
    assert (str(long.a), str(long.b), long.mtu, long.a.mtu) == ("h2:wan", "h3:eth7", 1400, 1400)


def test_short_links_find_the_nodes_also_in_names_with_a_hyphen() -> None:
    topology = topology_from_text("nodes: {web-1: , db: }\nlinks: [web-1-db]")
    assert (topology.links["web-1-db"].a.node, topology.links["web-1-db"].b.node) == ("web-1", "db")


def test_a_network_may_be_disconnected_or_without_links() -> None:
    assert addresses(topology_from_text("nodes: {h1: , h2: }")) == {"h1": [], "h2": []}
    assert len(topology_from_text("nodes: {h1: , h2: , h3: , h4: }\nlinks: [h1-h2, h3-h4]").links) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "nodes: {h1: , h2: }\nlinks:\n- h1-h3",
            "lab.yaml:3: links[0].endpoints: there is no node 'h3'; there are h1, h2",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- [h1, h22]",
            "lab.yaml:3: links[0].endpoints[1]: there is no node 'h22'; did you",
        ),
        (
            "nodes: {h1: , h2: , h3: }\nlinks:\n- ['h1:eth0', h2]\n- ['h1:eth0', h3]",
            "lab.yaml:4: links[1].endpoints[0]: h1:eth0 has a link already: links[0]",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, delay: -3ms}",
            "lab.yaml:3: links[0].delay: -3ms is not a dur",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, loss: 140%}",
            "lab.yaml:3: links[0].loss: 140% is not a chan",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, lose: 1%}",
            "links[0].lose: unknown field; did you mean loss?",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, mtu: 10}",
            "links[0].mtu: 10 is not a whole number in 576 to",
        ),
        (
            "nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, directions: {h1->h3: {}}}",
            "is not a direction of this link",
        ),
        ("nodes: {h1: , h2: }\nlinks:\n- {endpoints: h1-h2, name: x}\n- {endpoints: h1-h2, name: x}", "lab.yaml:4: "),
        ("nodes: {h1: , h2: }\nlinks:\n- h1", "lab.yaml:3: links[0]: 'h1' is not a link"),
        ("nodes: {h1: , h2: }\nlinks:\n- h1-h1", "both ends are on h1"),
        ("nodes: {h1: , h2: }\nlinks:\n- ['h1:interface-name-1', h2]", "is not an interface name: a letter, then"),
        ("nodes: {a-b: , c: , a: , b-c: }\nlinks: [a-b-c]", "a-b-c can be read in 2 ways"),
        ("nodes: {1h: host}", "nodes: 1h is not a node name"),
        ("nodes: {h1: hots}", "nodes.h1: hots is not one of host, router, switch, linux; did you mean host?"),
        ("nodes: {h1: {group: g}}", "nodes.h1.group: there is no group 'g'; there are none"),
        ("nodes: {}", "nodes: there are none"),
        ("links: []", "nodes: is missing"),
        ("", "nodes: is missing"),
        ("kinds: {hub: {}}\nnodes: {h1: }", "hub is not a kind: host, router, switch, linux"),
        ("nodes:\n  h1:\n    parameters:\n      tcp_syn_retry: 1", "lab.yaml:4: nodes.h1.parameters.tcp_syn_retry: no"),
        (
            "nodes:\n  h1:\n    parameters:\n      tcp_syn_retries: many",
            "lab.yaml:4: nodes.h1.parameters.tcp_syn_retries: 'many'",
        ),
        ("nodes: {h1: {parameters: {net.ipv4.tcp_fack: 0}}}", "net.ipv4.tcp_fack: no such parameter of tcplab's TCP"),
        ("nodes: {h1: {kind: linux, parameters: {profile: rfc}}}", "nodes.h1.parameters.profile: profile is of tcplab"),
        ("nodes: {h1: {kind: linux, parameters: {kernel.pid_max: 1}}}", "kernel.pid_max is not a parameter such as"),
        ("nodes: {h1: {kind: linux, parameters: {net.ipv4.tcp_sack: {}}}}", "net.ipv4.tcp_sack: {} is not allowed"),
        (
            "defaults: {parameters: {tcp_fack: 0}}\nnodes: {l1: linux, h1: }",
            "lab.yaml:1: defaults.parameters.tcp_fack: no such parameter of tcplab's TCP",
        ),
        ("nodes: {s1: {kind: switch, parameters: {tcp_syn_retries: 1}}}", "a switch has no TCP/IP stack"),
        ("nodes: {s1: switch, s2: switch, s3: switch}\nlinks:\n- s1-s2\n- s2-s3\n- s3-s1", "lab.yaml:5: links[2]"),
        (
            "nodes:\n  h1: {interfaces: {eth0: 10.1.0.1/24}}\n  h2: {interfaces: {eth0: 10.1.0.1/24}}\nlinks: [h1-h2]",
            "lab.yaml:3: nodes.h2.interfaces.eth0.address: 10.1.0.1 is also the address of h1:eth0",
        ),
        (
            "nodes:\n  h1: {interfaces: {eth0: 10.1.0.1/24}}\n  h2: {interfaces: {eth0: 10.2.0.1/24}}\nlinks: [h1-h2]",
            "10.2.0.1/24 is not in 10.1.0.0/24",
        ),
        (
            "nodes:\n  h1: {interfaces: {eth0: 10.1.0.1/24}}\n  h2:\n  h3: {interfaces: {eth0: 10.1.0.9/24}}\n  h4:\n"
            "links: [h1-h2, h3-h4]",
            "10.1.0.0/24 is also the subnet of another segment",
        ),
        ("nodes: {h1: {interfaces: {eth0: 10.1.0.0/24}}, h2: }\nlinks: [h1-h2]", "is the network or broadcast address"),
        ("nodes: {h1: {interfaces: {eth0: 224.0.0.1/24}}, h2: }\nlinks: [h1-h2]", "cannot be the address of a host"),
        ("nodes: {h1: {interfaces: {eth0: 10.1.0.999/24}}, h2: }\nlinks: [h1-h2]", "is not an address like"),
        (
            "nodes: {h1: {interfaces: {eth0: 10.1.0.1}}, h2: }\nlinks: [h1-h2]",
            "is not an address with its prefix length",
        ),
        (
            "nodes: {h1: {interfaces: {eth5: 10.1.0.1/24}}, h2: }\nlinks: [h1-h2]",
            "no link ends at h1:eth5; there are eth0",
        ),
        ("nodes: {h1: {interfaces: {eth0: {mac: '01:00:00:00:00:01'}}}, h2: }\nlinks: [h1-h2]", "neither zero nor"),
        ("nodes: {h1: {interfaces: {eth0: {ipv6: 'fd00::1/64'}}}, h2: }\nlinks: [h1-h2]", "give it `ipv6: dual`"),
        (
            "ipv6: dual\nnodes: {h1: {interfaces: {eth0: {ipv6: 'fe80::1/64'}}}, h2: }\nlinks: [h1-h2]",
            "fe80::1 cannot be the address of a host",
        ),
        (
            "ipv6: dual\nnodes: {h1: {interfaces: {eth0: {ipv6: 'fd00::/64'}}}, h2: }\nlinks: [h1-h2]",
            "fd00:: is the address of every router on fd00::/64",
        ),
        (
            "ipv6: dual\nnodes:\n  h1: {interfaces: {eth0: {ipv6: 'fd01::1/64'}}}\n"
            "  h2: {interfaces: {eth0: {ipv6: 'fd02::1/64'}}}\nlinks: [h1-h2]",
            "fd02::1/64 is not in fd01::/64",
        ),
        ("ipv6: dual\nnodes: {h1: , h2: }\nlinks: [{endpoints: h1-h2, mtu: 1279}]", "1279 is too small for IPv6"),
        ("ipv6: yes\nnodes: {h1: , h2: }\nlinks: [h1-h2]", "none, dual, preferred"),
        (
            "nodes: {" + ", ".join(f"h{n}: " for n in range(1001)) + "}",
            "1001 nodes and 0 links; 1000 and 4000 are allowed",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        topology_from_text(text, "lab.yaml")
    assert str(caught.value).startswith("lab.yaml:")
    assert message in str(caught.value)


def with_ipv6(name: str, family: str) -> Topology:
    return topology_from_mapping({**find_topology(name).spec, "ipv6": family})


@pytest.mark.parametrize("name", SHIPPED)
def test_with_ipv6_everything_else_stays_and_routes_go_the_same_way(name: str) -> None:
    """fd00:0:0:N::K beside 10.0.N.K, and for each route over the one a route over the other."""
    before, after = find_topology(name), with_ipv6(name, "dual")
    assert addresses(before) == addresses(after)
    both = {one.address: one.ipv6 for node in after.nodes.values() for one in node.interfaces if one.address}
    for node in after.nodes.values():
        four = [route for route in node.routes if len(route.network) == 4]
        assert tuple(four) == before.nodes[node.name].routes
        six = [route for route in node.routes if len(route.network) == 16]
        for one, other in zip(four, six, strict=True):
            expected = bytes((0xFD,)) + bytes(6) + one.network[2:3] + bytes(8) if one.prefix_len else bytes(16)
            assert (other.network, other.prefix_len) == (expected, 64 if one.prefix_len else 0)
            assert (other.via, other.interface) == (both[one.via], one.interface)
        for interface in node.interfaces:
            if interface.address:
                n, k = interface.address[2:]
                assert address_text(interface.ipv6) == (f"fd00:0:0:{n}::{k:x}" if n else f"fd00::{k:x}")


def test_which_address_a_name_stands_for() -> None:
    four, six = bytes((10, 0, 0, 1)), bytes((0xFD, *bytes(14), 1))
    assert find_topology("pair").addresses("h1") == (four,)
    dual, preferred = with_ipv6("pair", "dual"), with_ipv6("pair", "preferred")
    assert (dual.addresses("h1"), dual.resolve("h1"), dual.resolve("fd00::1")) == ((four, six), four, six)
    assert (preferred.addresses("h1"), preferred.resolve("h1")) == ((six, four), six)


def test_given_ipv6_addresses_decide_the_subnet() -> None:
    topology = topology_from_text(
        "ipv6: dual\nnodes:\n  h1: {interfaces: {eth0: {ipv6: '2001:db8::2/48'}}}\n  h2:\n  r1: router\n  h3:\n"
        "links: [h1-r1, h2-r1, h3-r1]"
    )
    ipv6 = {
        str(one): f"{address_text(one.ipv6)}/{one.ipv6_prefix_len}"
        for node in topology.nodes.values()
        for one in node.interfaces
    }
    assert ipv6 == {
        "h1:eth0": "2001:db8::2/48",
        "r1:eth0": "2001:db8::1/48",
        "h2:eth0": "fd00:0:0:1::1/64",
        "r1:eth1": "fd00:0:0:1::2/64",
        "h3:eth0": "fd00:0:0:2::2/64",
        "r1:eth2": "fd00:0:0:2::1/64",
    }


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(InvalidArgument, match="larger than"):
        load_topology(path)


def test_the_shipped_ones_are_found_by_name() -> None:
    assert tuple(shipped_files("topologies")) == SHIPPED
    for name, path in shipped_files("topologies").items():
        assert find_topology(name) == load_topology(path)
        assert find_topology(name).name == name
        assert find_topology(name).description


@pytest.mark.parametrize("name", [*SHIPPED, "tree,3,2"])
def test_the_canonical_form_is_the_same_topology(name: str) -> None:
    topology = find_topology(name)
    assert topology_from_mapping(json.loads(json.dumps(topology.spec))) == topology


def test_a_name_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text("nodes: {h1: }")
    monkeypatch.chdir(tmp_path)
    assert list(load_topology("own.yaml").nodes) == ["h1"]
    for name in ("own.yaml", str(tmp_path / "own.yaml"), "../topologies/pair"):
        with pytest.raises(NotFound):
            find_topology(name)


@pytest.mark.parametrize(
    ("name", "nodes", "links"),
    [
        ("star,4", 5, 4),
        ("single,2", 3, 2),
        ("linear,4", 8, 7),
        ("linear,2,3", 8, 7),
        ("tree,2,3", 13, 12),
        ("tree,3", 15, 14),
        ("dumbbell,2", 6, 5),
        ("dumbbell,1", 4, 3),
    ],
)
def test_generators_have_mininets_shapes(name: str, nodes: int, links: int) -> None:
    topology = find_topology(name)
    assert (len(topology.nodes), len(topology.links)) == (nodes, links)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("star,0", "star,HOSTS"),
        ("star,x", "star,HOSTS"),
        ("star,1,2", "star,HOSTS"),
        ("tree,9,9", "more than 500 hosts"),
        ("star,99999999999", "star,HOSTS"),
        ("star,-3", "star,HOSTS"),
    ],
)
def test_wrong_generators_are_told_their_usage(name: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        find_topology(name)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(NotFound, match="did you mean dumbbell"):
        find_topology("dumbell")


def test_the_committed_schema_is_current_and_accepts_the_shipped_files() -> None:
    path = shipped_directory("topologies") / "schema.json"
    assert path.read_text() == schema_text(), "run: python -m lab.topology.schema"
    validator = jsonschema.Draft202012Validator(json.loads(path.read_text()))
    for shipped in shipped_files("topologies").values():
        validator.validate(yaml.safe_load(shipped.read_text()))
    assert not validator.is_valid({"nodes": {"h1": "host"}, "lynks": []})
    assert not validator.is_valid({"nodes": {"h1": "hots"}})


def test_a_linux_node_with_ip_forward_is_a_router_and_one_without_is_a_host() -> None:
    text = "nodes: {{l1: linux, r1: {{kind: linux, parameters: {{{forward}}}}}, h1: }}\nlinks: [l1-r1, r1-h1]"
    topology = topology_from_text(
        text.format(forward="net.ipv4.ip_forward: 1, net.ipv4.tcp_sack: 0, tcp_wmem: [1, 2, 3]")
    )
    assert [str(route) for route in topology.nodes["l1"].routes] == ["0.0.0.0/0 via 10.0.1.2"]
    assert [str(route) for route in topology.nodes["h1"].routes] == ["0.0.0.0/0 via 10.0.2.1"]
    assert dict(topology.nodes["r1"].parameters) == {
        "net.ipv4.ip_forward": 1,
        "net.ipv4.tcp_sack": 0,
        "tcp_wmem": "1 2 3",
    }
    topology = topology_from_text(text.format(forward="ip_forward: 0"))
    assert not topology.nodes["l1"].routes and not topology.nodes["h1"].routes
