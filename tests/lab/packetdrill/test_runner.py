"""What the runner says of scripts that do not pass: it must never pass one for the wrong reason."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from lab.packetdrill.runner import Outcome, Result, run_text

OPENED = """\
 0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000,nop,nop,sackOK>
+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,sackOK>
+.1 < . 1:1(0) ack 1 win 32792
+0 accept(3, ..., ...) = 4
"""
WRITES = OPENED + "+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1\n"


def run(text: str, **definitions: str) -> Result:
    return run_text(textwrap.dedent(text), definitions=definitions)


def test_a_script_that_says_what_happens_passes() -> None:
    assert run(WRITES) == Result(Outcome.PASSED)


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("> S. 0:0(0) ack 1 <", "> S. 0:0(0) ack 2 <", "ack 1 instead of 2"),
        ("> S. 0:0(0)", "> S 0:0(0)", "flags S. instead of S"),
        ("mss 1460,nop,nop,sackOK", "mss 1400,nop,nop,sackOK", "option mss 1460 instead of mss 1400"),
        ("<mss 1460,nop,nop,sackOK>", "<mss 1460>", "options <mss 1460,nop,nop,sackOK> instead of <mss 1460>"),
        ("ack 1 <mss 1460", "ack 1 win 4000 <mss 1460", "win 65535 instead of 4000"),
        ("P. 1:2501(2500)", "P. 2:2502(2500)", "seq 1 instead of 2"),
        ("P. 1:2501(2500)", "P. 1:2401(2400)", "2500 bytes instead of 2400"),
        ("P. 1:2501(2500)", ". 1:2501(2500)", "flags P. instead of ."),
        ("P. 1:2501(2500)", "[ect0] P. 1:2501(2500)", "ECN bits 0 instead of [ect0]"),
        ("P. 1:2501(2500) ack 1", "P. 1:2501(2500) ack 1 <nop,nop,TS val 1 ecr 1>", "options <> instead of"),
        ("+0 > P. 1:", "+.05 > P. 1:", "this packet comes at 0.100000 s instead of 0.150000 s"),
        ("= 2500", "= 2499", "write gives 2500 instead of 2499"),
        ("= 2500", "= -1 EAGAIN (Try again)", "write gives 2500 instead of -1 EAGAIN"),
        ("+0 accept(", "+0...0.200 accept(", "accept returns at 0.100000 s instead of 0.300000 s"),
    ],
)
def test_one_thing_otherwise_fails_and_says_what(right: str, wrong: str, reason: str) -> None:
    assert right in WRITES
    text = WRITES.replace(right, wrong, 1)
    result = run(text)
    changed = next(
        number
        for number, lines in enumerate(zip(text.split("\n"), WRITES.split("\n"), strict=True), 1)
        if lines[0] != lines[1]
    )
    assert (result.outcome, result.line) == (Outcome.FAILED, changed)
    assert reason in result.text


def test_a_packet_that_never_comes_fails() -> None:
    result = run(OPENED + "+0 > P. 1:11(10) ack 1\n")
    assert (result.outcome, result.line) == (Outcome.FAILED, 8)
    assert result.text == "the stack sends nothing until 2.100000 s; expected P. 1:11(10)"


def test_a_packet_nobody_expected_is_met_by_the_next_expectation() -> None:
    result = run(WRITES.replace("+0 > P. 1:2501", "+1 > P. 1:2501"))
    assert (result.outcome, result.line) == (Outcome.FAILED, 9)


def test_a_call_that_blocks_where_it_should_not_fails() -> None:
    result = run(OPENED + "+0 read(4, ..., 10) = 10\n")
    assert result == Result(Outcome.FAILED, 8, "read blocks")


def test_a_call_that_never_returns_fails() -> None:
    result = run(OPENED + "+0...1 read(4, ..., 10) = 10\n")
    assert result == Result(Outcome.FAILED, 8, "read does not return")


def test_a_blocked_call_returns_when_the_packet_it_waits_for_comes() -> None:
    assert run(OPENED + "+0...1 read(4, ..., 10) = 7\n+1 < P. 1:8(7) ack 1 win 100\n") == Result(Outcome.PASSED)


def test_assertions_of_python_see_tcp_info_and_what_was_assigned() -> None:
    assert run(OPENED + "+0 %{ cwnd = tcpi_snd_cwnd }%\n+0 %{ assert cwnd == 10; print(cwnd) }%\n").printed == ("10",)
    result = run(OPENED + "+0 %{ assert tcpi_snd_cwnd == 11, 'no' }%\n")
    assert (result.outcome, result.line) == (Outcome.FAILED, 8)
    assert result.text == "assertion fails: no (tcpi_snd_cwnd 10)"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("+0 epoll_pwait2(3) = 0", "epoll_pwait2"),
        ("+0 send(4, ..., 10, MSG_CONFIRM) = 10", "MSG_CONFIRM"),
        ("+0 setsockopt(4, SOL_TCP, TCP_MD5SIG, [1], 4) = 0", "TCP_MD5SIG"),
        ("+0 `sysctl -q net.ipv4.tcp_frto=0`", "tcp_frto=0"),
        ("+0 `sysctl -q net.ipv4.tcp_nonsense=1`", "tcp_nonsense=1"),
        ("+0 `iptables -A INPUT -j DROP`", "iptables"),
        ("+0 `./nothing.sh`", "./nothing.sh"),
        ("+0 < udp (10)", "udp"),
        ("+0 < . 1:1(0) ack 1 win 10 <md5 00112233445566778899aabbccddeeff>", "md5"),
        ("+0 %{ assert tcpi_nonsense }%", "tcpi_nonsense"),
    ],
)
def test_what_cannot_be_expressed_is_unsupported_by_name(line: str, named: str) -> None:
    result = run(OPENED + line + "\n")
    assert (result.outcome, result.line) == (Outcome.UNSUPPORTED, 8)
    assert named in result.text


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "an event's time"),
        ("+0 socket(..., SOCK_STREAM, 0) = 3\n+0 nonsense", 2, "'('"),
        ("+0 > S 0:5(0)", 1, "0 and 0 bytes do not make 5"),
        ("+0 `sysctl", 1, "nothing closes this `"),
        ("+0 < S 0:0(0) win 70000", 1, "0 to 65535"),
        ("+0 < S 0:0(0) win 7 <mss 70000>", 1, "a number of 2 bytes"),
        ("+0 < S 0:0(0) win 7 <...>", 1, "outbound packets only"),
        ("+0~+1 close(3) = 0", 1, "outbound packets only"),
        ("--mtu=seven\n+0 close(3) = 0", 1, "--mtu: 'seven'"),
        ("+0 %{ assert ( }%", 1, "never closed"),
        ("+0 ? 1", 1, "'?' is not allowed here"),
    ],
)
def test_what_is_no_script_is_invalid_and_says_where(text: str, line: int, reason: str) -> None:
    result = run(text)
    assert (result.outcome, result.line) == (Outcome.INVALID, line)
    assert reason in result.text


def test_sysctls_of_commands_act_and_scripts_of_commands_are_read(tmp_path: Path) -> None:
    (tmp_path / "common.sh").write_text(
        "#!/bin/bash\n# what a test bed sets\nip tcp_metrics flush all > /dev/null 2>&1\n"
        'sysctl -q net.ipv4.tcp_rmem="4096 131072 $((8*1024*1024))"\nsysctl -q \\\n  net.ipv4.tcp_sack=0 \\\n'
        "  net.ipv4.tcp_timestamps=0\necho 2 > /proc/sys/net/ipv4/tcp_syn_retries\n"
    )
    script = (
        "`./common.sh`\n0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
        "+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n"
        "+0 > S 0:0(0) <mss 1460,nop,wscale 8>\n"
    )
    without_sack = run_text(script.replace("wscale 8", "wscale SHIFT"), tmp_path, {"SHIFT": "8"})
    assert without_sack == Result(Outcome.PASSED)
    (tmp_path / "common.sh").write_text("rm -rf x\n")
    refused = run_text(script, tmp_path)
    assert (refused.outcome, refused.line, refused.text) == (Outcome.UNSUPPORTED, 1, "command rm")


def test_timestamps_are_compared_when_the_script_says_how_long_a_tick_is() -> None:
    text = """\
        --tcp_ts_tick_usecs=1000
        0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
        +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
        +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
        +0 > S 0:0(0) <mss 1460,sackOK,TS val 100 ecr 0,nop,wscale 7>
        +.2 < S. 0:0(0) ack 1 win 1000 <mss 1000,sackOK,TS val 9 ecr 100>
        +0 > . 1:1(0) ack 1 <nop,nop,TS val 300 ecr 9>
        """
    text = text.replace("0 socket", '`sysctl -q net.ipv4.tcp_rmem="4096 131072 6291456"`\n0 socket', 1)
    assert run(text) == Result(Outcome.PASSED)
    late = run(text.replace("TS val 300", "TS val 310"))
    assert (late.outcome, late.line) == (Outcome.FAILED, 8)
    assert "10 ticks" in late.text


def test_the_same_script_and_seed_are_the_same_run() -> None:
    failing = WRITES.replace("P. 1:2501(2500) ack 1", "P. 1:2501(2500) ack 1 win 7")
    assert run(failing) == run(failing)


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ("+0 `nstat > /dev/null`\n+0 < icmp unreachable [5000:5010(10)]\n", Outcome.PASSED),
        ("+0 < icmp unreachable [5000:5010(10)]\n+0 `nstat > /dev/null`\n", Outcome.FAILED),
        ("+0 `nstat > /dev/null`\n+0 < icmp unreachable [1:11(10)]\n", Outcome.FAILED),
    ],
)
def test_nstat_counts_from_the_nstat_before(calls: str, outcome: Outcome) -> None:
    written = OPENED + "+0 write(4, ..., 100) = 100\n"
    result = run(written + calls + "+0 `nstat | grep TcpExtOutOfWindowIcmps > /dev/null`\n")
    assert result.outcome == outcome, result.text


def test_a_queue_that_refuses_packets_is_unsupported() -> None:
    result = run(OPENED + "+0 `tc qdisc add dev tun0 root fq`\n+0 `tc qdisc add dev tun0 root pfifo limit 0`\n")
    assert (result.outcome, result.line) == (Outcome.UNSUPPORTED, 9)


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("ee_info=0, ee_data=1", "ee_info=0, ee_data=2", "ee_data 1 instead of 2"),
        ("ee_info=2, ee_data=2", "ee_info=1, ee_data=2", "ee_info 2 instead of 1"),
        ("SO_EE_CODE_ZEROCOPY_COPIED", "0", "ee_code SO_EE_CODE_ZEROCOPY_COPIED instead of 0"),
        ("SCM_TSTAMP_SND", "SCM_TSTAMP_SCHED", "ee_info SCM_TSTAMP_SND instead of SCM_TSTAMP_SCHED"),
        ("scm_nsec=70000000", "scm_nsec=80000000", "a timestamp of 70000000 ns instead of 80000000"),
        ("MSG_ERRQUEUE|MSG_TRUNC, msg", "MSG_ERRQUEUE, msg", "msg_flags MSG_ERRQUEUE|MSG_TRUNC"),
        ("EPOLLERR", "EPOLLIN", "epoll_wait gives EPOLLERR"),
    ],
)
def test_an_error_queue_that_says_otherwise_fails(right: str, wrong: str, reason: str) -> None:
    text = (Path(__file__).parent / "scripts" / "error-queue.pkt").read_text()
    result = run(text.replace(right, wrong, 1))
    assert result.outcome == Outcome.FAILED
    assert reason in result.text


def test_fq_paces_and_pfifo_does_not() -> None:
    """The window is 12 segments, a round trip 100 ms: in slow start segments leave twice as fast, one in 4.2 ms."""
    text = OPENED + "+0 write(4, ..., 14000) = 14000\n+0 > P. 1:10001(10000) ack 1\n+.1 < . 1:1(0) ack 2001 win 32792\n"
    burst, paced = (
        "+0 > P. 10001:14001(4000) ack 1\n",
        "+0 > . 10001:11001(1000) ack 1\n+.004~+.012 > . 11001:12001(1000)",
    )
    for queue, sent in (("fq", f"{paced} ack 1\n"), ("pfifo", burst)):
        assert run(f"`tc qdisc replace dev tun0 root {queue}`\n{text}{sent}") == Result(Outcome.PASSED), queue


def test_of_two_commands_the_second_is_for_where_the_first_cannot_be_done() -> None:
    begins = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
    opens = "+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n+0 > S 0:0(0) <mss 1460>\n"
    plain = "sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_timestamps=0 net.ipv4.tcp_window_scaling=0"
    assert run(f"`sysctl -q net.ipv4.tcp_nonsense=0 || \\\n {plain}`\n{begins}{opens}") == Result(Outcome.PASSED)
    done = run(f"`{plain} || sysctl -q net.ipv4.tcp_sack=1`\n{begins}{opens}")
    assert done == Result(Outcome.PASSED)
    neither = run(f"`sysctl -q net.ipv4.tcp_nonsense=0 || iptables -F`\n{begins}{opens}")
    assert (neither.outcome, neither.line) == (Outcome.UNSUPPORTED, 1)
