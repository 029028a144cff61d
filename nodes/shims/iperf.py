"""iperf, as its version 2: bulk transfers by TCP, a stream of datagrams by UDP."""

from __future__ import annotations

from collections.abc import Sequence

from nodes.shims import ends, iperf_tcp, iperf_udp
from nodes.shims.ask import options, wrong
from nodes.shims.flags import Wrong
from nodes.shims.rates import FORMATS

_USAGE = (
    "-s | -c HOST [-u] [-p PORT] [-t SECONDS] [-n BYTES] [-i SECONDS] [-P STREAMS] [-b RATE] [-l BYTES] [-f FORMAT]"
)
_KNOWN = {
    "-s": "server",
    "--server": "server",
    "-c": "client=",
    "--client": "client=",
    "-u": "udp",
    "--udp": "udp",
    "-p": "port=",
    "--port": "port=",
    "-t": "time=",
    "--time": "time=",
    "-n": "amount=",
    "--num": "amount=",
    "-i": "interval=",
    "--interval": "interval=",
    "-P": "parallel=",
    "--parallel": "parallel=",
    "-b": "rate=",
    "--bandwidth": "rate=",
    "-l": "length=",
    "--len": "length=",
    "-f": "form=",
    "--format": "form=",
    "-w": "window=",
    "--window": "window=",
    "-B": "bind=",
    "-N": "nodelay",
    "--nodelay": "nodelay",
    "-D": "daemon",
    "-Z": "congestion=",
    "--linux-congestion": "congestion=",
    "-M": "mss=",
    "--mss": "mss=",
    "-y": "report=",
    "-m": "print_mss",
    "-e": "enhanced",
    "-1": "once",
    "-V": "ipv6",
    "-6": "ipv6",
    "-4": "ipv4",
}


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no connection."""
    given = options(name, argv, _KNOWN, _USAGE)
    try:
        if given.daemon:
            raise Wrong("run it in the background: &")
        if bool(given.server) == (given.client is not None) or given.rest:
            raise Wrong("either -s or -c HOST is needed")
        if (given.form or "a") not in FORMATS:
            raise Wrong(f"format {given.form!r} is none; there are {', '.join(FORMATS)}")
        ends.use(given)
        if given.server:
            return iperf_udp.serve(name, given) if given.udp else iperf_tcp.serve(name, given)
        return iperf_udp.send(name, given) if given.udp else iperf_tcp.send(name, given)
    except Wrong as error:
        wrong(name, error, _USAGE)
