"""Print where this checkout is installed with its hot code compiled, for tests and benchmarks; do that when it is not.

    PYTHON tools/compiled.py

It is what `pip install .` installs where there is a C compiler, but for the requirements: those of PYTHON, which must
have mypy and setuptools, are used, so building takes no network. There is one per state of the sources and version of
Python under build/compiled; the last three are kept. TCPLAB_OPT_LEVEL=2 has it optimised, which takes twice the time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = 3


def sources() -> list[Path]:
    """What a wheel is made of."""
    found = [ROOT / name for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md")]
    for name in ("nodes", "lab", "tcplab", "topologies", "experiments", "tools"):
        found += sorted((ROOT / name).rglob("*"))
    return [path for path in found if path.is_file() and "__pycache__" not in path.parts]


def main() -> None:
    level = os.environ.setdefault("TCPLAB_OPT_LEVEL", "0")
    digest = hashlib.sha256(f"{sys.version} {level}".encode())
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    made = ROOT / "build/compiled"
    directory = made / digest.hexdigest()[:16]
    made.mkdir(parents=True, exist_ok=True)
    with (made / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.is_dir():
            make(made, directory)
        os.utime(directory)
    print(directory)


def make(made: Path, directory: Path) -> None:
    """Build, and forget what is old."""
    with tempfile.TemporaryDirectory(dir=made) as work:
        build(Path(work), Path(work) / "site")
        (Path(work) / "site").rename(directory)
    for old in sorted((one for one in made.iterdir() if one.is_dir()), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def build(work: Path, site: Path) -> None:
    for path in sources():
        target = work / "tree" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    log = work / "log"
    with log.open("wb") as out:
        done = subprocess.run(
            [*pip, "install", "-v", "--no-deps", "--no-build-isolation", "--target", site, work / "tree"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    if done.returncode or not list(site.glob("nodes/tcp/connection.*.so")):
        sys.exit(f"{log.read_text('utf-8', 'replace')[-4000:]}\nthe hot code was not compiled")


if __name__ == "__main__":
    main()
