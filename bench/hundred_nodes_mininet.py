"""Mininet's part of hundred_nodes.py: bare hosts on one Linux bridge, up and gone again. By the system's Python."""

import json
import sys
import time

import mininet.net
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

# It sets sysctls of the whole machine (fs.file-max and others), which is not ours to do.
mininet.net.fixLimits = lambda: None

start = time.perf_counter()
net = mininet.net.Mininet(topo=SingleSwitchTopo(int(sys.argv[1])), switch=LinuxBridge, controller=None)
net.start()
up = time.perf_counter()
net.stop()
gone = time.perf_counter()
print(json.dumps({"up_s": up - start, "gone_s": gone - up}))
