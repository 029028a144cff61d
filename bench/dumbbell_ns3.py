"""The peer of bench/dumbbell_tcplab.py: the same dumbbell and transfer in ns-3 (PyPI `ns3`), one rate a process.

    python bench/dumbbell_ns3.py RATE_BIT_S BYTES

h1 - r1 - r2 - h2; the r1-r2 bottleneck has RATE and 10 ms, the edges ten times the rate and 1 ms; NewReno, 1448-byte
segments, droptail of one bandwidth-delay product (at least 100 packets). Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time

from ns import ns


def main() -> None:
    rate, total = int(sys.argv[1]), int(sys.argv[2])
    queue = max(100, rate * 24 // 1000 // 8 // 1500)
    config = ns.Config.SetDefault
    config("ns3::TcpL4Protocol::SocketType", ns.StringValue("ns3::TcpNewReno"))
    config("ns3::TcpSocket::SegmentSize", ns.UintegerValue(1448))
    config("ns3::TcpSocket::InitialCwnd", ns.UintegerValue(10))
    config("ns3::TcpSocket::SndBufSize", ns.UintegerValue(16_000_000))
    config("ns3::TcpSocket::RcvBufSize", ns.UintegerValue(16_000_000))

    nodes = ns.NodeContainer()
    nodes.Create(4)
    stack = ns.InternetStackHelper()
    stack.Install(nodes)
    address = ns.Ipv4AddressHelper()
    last = None
    for index, (speed, delay) in enumerate(((10 * rate, "1ms"), (rate, "10ms"), (10 * rate, "1ms"))):
        link = ns.PointToPointHelper()
        link.SetDeviceAttribute("DataRate", ns.StringValue(f"{speed}bps"))
        link.SetChannelAttribute("Delay", ns.StringValue(delay))
        link.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", ns.StringValue(f"{queue}p"))
        devices = link.Install(nodes.Get(index), nodes.Get(index + 1))
        traffic = ns.TrafficControlHelper()  # no second queue above the device's
        address.SetBase(ns.Ipv4Address(f"10.0.{index}.0"), ns.Ipv4Mask("255.255.255.0"), ns.Ipv4Address("0.0.0.1"))
        last = address.Assign(devices)
        traffic.Uninstall(devices)
    ns.Ipv4GlobalRoutingHelper.PopulateRoutingTables()

    port = 80
    sink_helper = ns.PacketSinkHelper(
        "ns3::TcpSocketFactory", ns.InetSocketAddress(ns.Ipv4Address.GetAny(), port).ConvertTo()
    )
    sinks = sink_helper.Install(nodes.Get(3))
    sinks.Start(ns.Seconds(0))
    bulk = ns.BulkSendHelper("ns3::TcpSocketFactory", ns.InetSocketAddress(last.GetAddress(1), port).ConvertTo())
    bulk.SetAttribute("MaxBytes", ns.UintegerValue(total))
    bulk.SetAttribute("SendSize", ns.UintegerValue(1448 * 10))
    bulk.Install(nodes.Get(0)).Start(ns.Seconds(0))

    ns.Simulator.Stop(ns.Seconds(600))
    began, cpu = time.perf_counter(), time.process_time()
    ns.Simulator.Run()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    received = sinks.Get(0).GetObject[ns.PacketSink]().GetTotalRx()
    ns.Simulator.Destroy()
    packets = received // 1448
    print(
        json.dumps(
            {
                "peer": "ns-3",
                "rate": rate,
                "bytes": int(received),
                "wall": wall,
                "packets_per_s": packets / wall,
                "packets_per_cpu_s": packets / cpu,
            }
        )
    )


if __name__ == "__main__":
    main()
