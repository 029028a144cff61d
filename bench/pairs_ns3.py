"""The peer of `bench/scale_tcplab.py nodes`: the same pairs and transfers in ns-3 (PyPI `ns3`).

    python bench/pairs_ns3.py NUMBER      that many hosts in pairs, a link and a flow between the two of a pair

Small ones are made and run again until as many packets are measured. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time

from ns import ns

SEGMENT = 1448
#: As in scale_tcplab.py.
EACH = 300
PACKETS = 30_000


def main(hosts: int) -> None:
    config = ns.Config.SetDefault
    config("ns3::TcpL4Protocol::SocketType", ns.StringValue("ns3::TcpNewReno"))
    config("ns3::TcpSocket::SegmentSize", ns.UintegerValue(SEGMENT))
    config("ns3::TcpSocket::InitialCwnd", ns.UintegerValue(10))
    config("ns3::TcpSocket::SndBufSize", ns.UintegerValue(16_000_000))
    config("ns3::TcpSocket::RcvBufSize", ns.UintegerValue(16_000_000))
    packets = 0
    wall = cpu = 0.0
    while packets < PACKETS:
        nodes = ns.NodeContainer()
        nodes.Create(hosts)
        ns.InternetStackHelper().Install(nodes)
        address = ns.Ipv4AddressHelper()
        sinks = [pair(nodes, first, address) for first in range(0, hosts, 2)]
        ns.Simulator.Stop(ns.Seconds(600))
        began = time.perf_counter(), time.process_time()
        ns.Simulator.Run()
        wall, cpu = wall + time.perf_counter() - began[0], cpu + time.process_time() - began[1]
        packets += sum(sink.Get(0).GetObject[ns.PacketSink]().GetTotalRx() for sink in sinks) // SEGMENT
        ns.Simulator.Destroy()
    print(
        json.dumps(
            {
                "peer": "ns-3",
                "packets": packets,
                "us_per_packet": wall / packets * 1e6,
                "cpu_us_per_packet": cpu / packets * 1e6,
            }
        )
    )


def pair(nodes: ns.NodeContainer, first: int, address: ns.Ipv4AddressHelper) -> ns.ApplicationContainer:
    """Node number `first` sends to the next one, over a link of theirs; what receives."""
    link = ns.PointToPointHelper()
    link.SetDeviceAttribute("DataRate", ns.StringValue("100Mbps"))
    link.SetChannelAttribute("Delay", ns.StringValue("5ms"))
    link.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", ns.StringValue("1000p"))
    ends = ns.NodeContainer(nodes.Get(first))
    ends.Add(nodes.Get(first + 1))
    devices = link.Install(ends)
    traffic = ns.TrafficControlHelper()  # no second queue above the device's
    network = first // 2
    address.SetBase(
        ns.Ipv4Address(f"10.{network >> 8}.{network & 255}.0"),
        ns.Ipv4Mask("255.255.255.0"),
        ns.Ipv4Address("0.0.0.1"),
    )
    addresses = address.Assign(devices)
    traffic.Uninstall(devices)
    port = 2000
    anywhere = ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
    sink = ns.PacketSinkHelper("ns3::TcpSocketFactory", anywhere).Install(nodes.Get(first + 1))
    sink.Start(ns.Seconds(0))
    there = ns.InetSocketAddress(addresses.GetAddress(1), port).ConvertTo()
    bulk = ns.BulkSendHelper("ns3::TcpSocketFactory", there)
    bulk.SetAttribute("MaxBytes", ns.UintegerValue(EACH * SEGMENT))
    bulk.SetAttribute("SendSize", ns.UintegerValue(SEGMENT * 10))
    bulk.Install(nodes.Get(first)).Start(ns.Seconds(0))
    return sink


if __name__ == "__main__":
    main(int(sys.argv[1]))
