"""The `tcplab` command as people and scripts use it: a process, its output, its exit code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.shipped import shipped_files

TCPLAB = [sys.executable, "-m", "lab.cli.main"]


def tcplab(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [*TCPLAB, *map(str, arguments)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TCPLAB_")}
    return subprocess.run(command, cwd=cwd, env={**clean, **(env or {})}, capture_output=True, text=True, timeout=120)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The error: one line on standard error, no traceback."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("tcplab: ")
    return line


def test_run_prints_a_report_and_leaves_a_bundle_where_it_says(tmp_path: Path) -> None:
    done = tcplab("run", "lost-syn-ack", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "All 7 expectations hold." in done.stdout
    assert done.stdout.splitlines()[-1] == "Run: runs/lost-syn-ack-1-1"
    bundle = tmp_path / "runs" / "lost-syn-ack-1-1"
    for file in ("manifest.json", "events.spool", "pcap/h1-eth0.pcapng", "tables/states.parquet", "verdicts.jsonl"):
        assert (bundle / file).stat().st_size > 0
    assert tcplab("run", "lost-syn-ack", cwd=tmp_path).stdout.splitlines()[-1] == "Run: runs/lost-syn-ack-1-2"


def test_a_changed_expectation_fails_with_exit_code_1_and_says_why(tmp_path: Path) -> None:
    text = shipped_files("experiments")["lost-syn-ack"].read_text("utf-8")
    (tmp_path / "mine.yaml").write_text(text.replace("length: 1s..1.05s", "length: 3s"), "utf-8")
    done = tcplab("run", "mine.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "FAIL  client is in SYN-SENT exactly 3s" in done.stdout
    assert "found: 1.02s (events " in done.stdout or "found: 1.04s (events " in done.stdout
    assert "RFC 6298 section 2.1" in done.stdout
    assert "1 of 7 expectations do not hold." in done.stdout


def test_run_json(tmp_path: Path) -> None:
    done = tcplab("run", "handshake", "--json", "--seed", 9, "--out", "here", cwd=tmp_path)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["name"], report["seed"], report["ok"], report["directory"]) == ("handshake", 9, True, "here")
    assert all(one["ok"] for one in report["expectations"])


def test_set_and_environment_variables(tmp_path: Path) -> None:
    done = tcplab(
        "run",
        "bulk-loss",
        "--set",
        "links.h1-h2.loss=0%",
        "--set",
        "expect=[]",
        "--json",
        cwd=tmp_path,
        env={"TCPLAB_RUN_SEED": "5", "TCPLAB_RUNS": "kept"},
    )
    report = json.loads(done.stdout)
    assert (report["seed"], report["directory"]) == (5, "kept/bulk-loss-5-1")
    manifest = json.loads((tmp_path / "kept" / "bulk-loss-5-1" / "manifest.json").read_text("utf-8"))
    assert "loss: 0%" in manifest["spec"]
    shown = json.loads(tcplab("show", "kept/bulk-loss-5-1", "--json", cwd=tmp_path).stdout)
    assert shown["retransmissions"] == []


def test_an_occupied_directory_is_refused_and_replaced_only_when_it_is_a_run(tmp_path: Path) -> None:
    assert tcplab("run", "handshake", "--out", "run", cwd=tmp_path).returncode == 0
    assert "run" in one_line(tcplab("run", "handshake", "--out", "run", cwd=tmp_path))
    assert tcplab("run", "handshake", "--out", "run", "--replace", cwd=tmp_path).returncode == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    assert "not a run" in one_line(tcplab("run", "handshake", "--out", "mine", "--replace", cwd=tmp_path))
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


def test_show_and_plot(tmp_path: Path) -> None:
    tcplab("run", "bulk-loss", "--out", "run", cwd=tmp_path)
    done = tcplab("show", "run", cwd=tmp_path)
    assert done.returncode == 0
    assert "FIN-WAIT-1" in done.stdout
    assert "fast retransmit" in done.stdout
    assert "7" in one_line(tcplab("show", "run", "-c", 7, cwd=tmp_path))
    assert "ruin" in one_line(tcplab("show", "ruin", cwd=tmp_path))
    done = tcplab("plot", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for picture in json.loads(done.stdout)["pictures"]:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_lists_and_files(tmp_path: Path) -> None:
    names = [one["name"] for one in json.loads(tcplab("experiments", "--json", cwd=tmp_path).stdout)]
    assert names == list(shipped_files("experiments"))
    assert "dumbbell" in tcplab("topologies", cwd=tmp_path).stdout
    printed = tcplab("experiments", "handshake", cwd=tmp_path).stdout
    assert printed == shipped_files("experiments")["handshake"].read_text("utf-8")
    (tmp_path / "copy.yaml").write_text(printed, "utf-8")
    assert "experiment handshake, 2 nodes, 1 links: fine" in tcplab("validate", "copy.yaml", cwd=tmp_path).stdout
    assert "topology star" in tcplab("validate", "star", cwd=tmp_path).stdout
    assert json.loads(tcplab("version", "--json", cwd=tmp_path).stdout)["tcplab"]


TOPOLOGY = "nodes: {h1: host, h2: host}\nlinks:\n  - endpoints: [h1:eth0, h2:eth0]\n    delay: 10ms\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TOPOLOGY.replace("h2:eth0", "h3:eth0"), ("bad.yaml:3", "links[0].endpoints", "h3")),
        (TOPOLOGY + "  - endpoints: [h1:eth0, h2:eth1]\n", ("links[1]", "h1:eth0 has a link already")),
        (TOPOLOGY.replace("10ms", "-10ms"), ("bad.yaml:4", "links[0].delay", "negative")),
        (TOPOLOGY.replace("delay: 10ms", "loss: 140%"), ("bad.yaml:4", "links[0].loss", "0% to 100%")),
        (TOPOLOGY.replace("delay", "dealy"), ("bad.yaml:4", "dealy", "did you mean delay")),
        ("nodes: [", ("bad.yaml:", "not YAML")),
        ("name: x\ntopology: pair\ntimeline:\n  - attack: {on-path-rst: {link: h1-h9}}\n", ("h1-h9",)),
        (
            "name: x\ntopology: pair\ntimeline:\n  - attack:\n      blind-rst:\n"
            "        {node: mallory, spoof: h1, target: h2, target_port: 1, spoof_ports: 1}\n",
            ("mallory",),
        ),
    ],
)
def test_bad_files_give_one_line_with_file_line_and_field(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text, "utf-8")
    command = ("run", "bad.yaml") if "topology:" in text else ("validate", "bad.yaml")
    line = one_line(tcplab(*command, cwd=tmp_path))
    for word in words:
        assert word in line
    assert [one.name for one in tmp_path.iterdir()] == ["bad.yaml"]


def test_bad_arguments(tmp_path: Path) -> None:
    assert "did you mean handshake" in one_line(tcplab("run", "handshak", cwd=tmp_path))
    assert "no such file" in one_line(tcplab("run", "no/such.yaml", cwd=tmp_path))
    assert "140%" in one_line(tcplab("run", "handshake", "--set", "links.h1-h2.loss=140%", cwd=tmp_path))
    assert "path=value" in one_line(tcplab("run", "handshake", "--set", "loss", cwd=tmp_path))
    assert "none of the shipped" in one_line(tcplab("topologies", "klein-bottle", cwd=tmp_path))
    done = tcplab("run", "handshake", "--seed", "x", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert not (tmp_path / "runs").exists()


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(1 << 42)  # which nobody reads in the time that `tcplab` is given here
    assert "larger than" in one_line(tcplab("validate", "huge.yaml", cwd=tmp_path))


def digests(directory: Path) -> dict[str, str]:
    files = [path for path in sorted(directory.rglob("*")) if path.suffix in (".spool", ".pcapng", ".jsonl")]
    assert len(files) >= 3
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_equal_runs_in_other_processes_have_equal_bytes_and_another_seed_has_not(tmp_path: Path) -> None:
    for out, seed, hash_seed in (("a", 4, "0"), ("b", 4, "1"), ("c", 5, "0")):
        done = tcplab("run", "demo", "--seed", seed, "--out", out, cwd=tmp_path, env={"PYTHONHASHSEED": hash_seed})
        assert done.returncode == 0, done.stdout
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a")["events.spool"] != digests(tmp_path / "c")["events.spool"]


def test_a_run_is_made_again_from_its_trace(tmp_path: Path) -> None:
    tcplab("run", "lost-syn-ack", "--out", "run", cwd=tmp_path)
    done = tcplab("rerun", "run", "--out", "again", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Equal, byte for byte.")
    assert digests(tmp_path / "run") == digests(tmp_path / "again")


def test_a_local_run_loads_no_grpc(tmp_path: Path) -> None:
    code = (
        "import sys; from lab.cli.main import main; sys.argv = ['tcplab', 'run', 'handshake']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('grpc', 'google')]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that ends with the test."""
    command = [*TCPLAB, "serve", "--socket", str(tmp_path / "socket"), "--runs", str(tmp_path / "kept"), "--until-eof"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
    assert process.returncode == 0


def test_a_run_on_a_server_has_the_bytes_of_one_here(server: str, tmp_path: Path) -> None:
    here = tcplab("run", "lost-syn-ack", "--seed", 3, "--out", "here", cwd=tmp_path)
    there = tcplab("run", "lost-syn-ack", "--seed", 3, "--out", "there", cwd=tmp_path, env={"TCPLAB_ADDRESS": server})
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert digests(tmp_path / "here") == digests(tmp_path / "there")
    again = tcplab("run", "lost-syn-ack", "--out", "there", "--server", server, cwd=tmp_path)
    assert "not empty" in one_line(again)


def test_what_fails_on_a_server_fails_as_it_does_here(server: str, tmp_path: Path) -> None:
    done = tcplab("run", "handshake", "--server", server, "--set", "timeline=[]", "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    done = tcplab("run", "demo", "--server", server, "--set", "links.bottleneck.loss=140%", cwd=tmp_path)
    assert "140%" in one_line(done)


def test_labs_of_a_server(server: str, tmp_path: Path) -> None:
    from tcplab.client import Controller

    with Controller(server) as controller:
        made = tcplab("up", "pair", "--name", "mine", "--seed", "6", "--json", "--server", server, cwd=tmp_path)
        assert json.loads(made.stdout)["name"] == "mine"
        assert "already" in one_line(tcplab("up", "pair", "--name", "mine", "--server", server, cwd=tmp_path))
        (lab,) = json.loads(tcplab("labs", "--json", "--server", server, cwd=tmp_path).stdout)
        assert (lab["name"], lab["state"], lab["topology"], lab["seed"]) == ("mine", "READY", "pair", 6)
        assert "nope" in one_line(tcplab("down", "mine", "nope", "--server", server, cwd=tmp_path))
        assert "would delete mine" in tcplab("down", "mine", "--dry-run", "--server", server, cwd=tmp_path).stdout
        assert [one.name for one in controller.labs()] == ["mine"]
        assert tcplab("down", "mine", "--server", server, cwd=tmp_path).returncode == 0
        (tmp_path / "My lab.yaml").write_text("nodes: {h1: host, h2: host}\nlinks: [h1-h2]\n")
        assert tcplab("up", "My lab.yaml", "--server", server, cwd=tmp_path).stdout.startswith("my-lab: My lab.yaml on")
        assert tcplab("up", "dumbbell,2", "--server", server, cwd=tmp_path).stdout.startswith("dumbbell: ")
        assert tcplab("down", "my-lab", "dumbbell", "--server", server, cwd=tmp_path).returncode == 0
        assert controller.labs() == []
        assert "nowhere.yaml" in one_line(tcplab("up", "nowhere.yaml", "--server", server, cwd=tmp_path))


def test_without_a_server(tmp_path: Path) -> None:
    done = tcplab("labs", "--server", f"unix:{tmp_path}/nobody", cwd=tmp_path)
    assert done.returncode == 3
    assert "no server answers" in done.stderr
    assert len(done.stderr.splitlines()) == 1
