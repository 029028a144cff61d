"""`tcplab shell` on every backend: the same words, the same answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.contract.under import SITE, Under


def test_the_shell_says_the_same_on_every_backend(under: Under, tmp_path: Path) -> None:
    script = "net\npingall\nlink h2 s1 down\npingall 1\nlink h2 s1 up\npingpair\nh1 ping -c 1 h2\nh1 ifconfig h1-eth0\n"
    with under.lab(SITE, name="shelled") as lab:
        command = [sys.executable, "-m", "lab.cli.main", "shell", "--server", under.server.address, lab.name]
        done = subprocess.run(command, input=script, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        h1, h2 = lab.node("h1").info().interfaces[0], lab.node("h2").address()
        if under.real_time:
            ran = subprocess.run(
                command, input="h1 X=6\nh1 echo $((X * 7))\n", cwd=tmp_path, capture_output=True, text=True, timeout=120
            )
            assert (ran.stdout, ran.returncode) == ("42\n", 0)
    said = done.stdout
    assert [line.split()[0] for line in said.splitlines()[:6]] == ["h1", "h2", "h3", "r1", "h4", "s1"]
    assert (
        "*** Ping: testing ping reachability\n"
        "h1 -> h2 h3 h4 \nh2 -> h1 h3 h4 \nh3 -> h1 h2 h4 \nh4 -> h1 h2 h3 \n"
        "*** Results: 0% dropped (12/12 received)\n"
        "*** Ping: testing ping reachability\n"
        "h1 -> X h3 h4 \nh2 -> X X X \nh3 -> h1 X h4 \nh4 -> h1 X h3 \n"
        "*** Results: 50% dropped (6/12 received)\n"
        "h1 -> h2 \nh2 -> h1 \n*** Results: 0% dropped (2/2 received)\n"
    ) in said
    assert f"PING {h2} ({h2}) 56(84) bytes of data." in said and "1 packets transmitted, 1 received" in said
    assert f"inet {h1.address}" in said and f"ether {h1.mac}" in said
