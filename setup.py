"""Compiles the hot code with mypyc where that can be done, and puts what ships as data into the wheel.

Where it cannot, tcplab is installed as pure Python; `tcplab version` says which it is, and why. An editable install
stays pure: a compiled module would hide later edits. topologies/ and experiments/ become lab/data/, where
lab/shipped.py looks first. TCPLAB_OPT_LEVEL is that of the C compiler, TCPLAB_PURE=1 asks for pure Python.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "tools"))
from compiler import no_compiler

SHIPPED = ("topologies", "experiments")

#: What every frame passes through. Packages (recursively) and modules.
HOT = (
    "nodes/base",
    "nodes/packet",
    "nodes/tcp",
    "nodes/ip",
    "nodes/stack.py",
    "nodes/drivers/ring.py",
    "nodes/sockets/driver.py",
    "nodes/sockets/gate.py",
    "nodes/sockets/stream.py",
    "lab/links/direction.py",
    "lab/links/frame.py",
    "lab/links/mesh.py",
    "lab/links/packet.py",
    "lab/links/queue.py",
    "lab/links/red.py",
    "lab/links/statistics.py",
    "lab/links/switch.py",
    "lab/trace/spool.py",
)
#: Of these packages: for processes and machines, not for frames.
COLD = (
    "nodes/base/garbage.py",
    "nodes/base/processes.py",
    "nodes/base/sleep.py",
    "nodes/tcp/congestion/plugin.py",
)
#: Where `tcplab version` reads why the code is not compiled.
NOTE = "lab/data/pure.txt"


def hot_modules() -> list[str]:
    """Paths of the modules to compile. Empty `__init__.py` files have nothing to compile."""
    found: list[Path] = []
    for name in HOT:
        path = Path(name)
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path.as_posix() for path in found if path.as_posix() not in COLD and path.read_text("utf-8").strip()]


def compiled() -> tuple[list[Extension], str]:
    """The hot code as extensions, or none and the reason."""
    if not {"bdist_wheel", "build_ext", "install"} & {*sys.argv[1:]}:
        return [], "it was not asked for"
    reason = no_compiler()
    if reason:
        return [], reason
    if importlib.util.find_spec("mypyc") is None:
        return [], "mypyc was missing"
    from mypyc.build import mypycify

    options = ["--config-file=", "--python-version=3.11", "--follow-imports=silent", "--ignore-missing-imports"]
    try:
        level = os.environ.get("TCPLAB_OPT_LEVEL", "2")
        # Many C files, which compile much faster than one large one.
        extensions: list[Extension] = mypycify(
            [*options, *hot_modules()], opt_level=level, debug_level="0", multi_file=True, target_dir="build/mypyc"
        )
        if os.name == "posix":
            for extension in extensions:
                # Calls from one module to another are then direct: nothing else can take the place of what they call.
                extension.extra_compile_args = [*extension.extra_compile_args, "-fvisibility=hidden"]
        return extensions, ""
    except SystemExit:
        return [], "mypyc did not accept the code"


class Build(build_py):
    """build_py, and then the data."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for kind in SHIPPED:
            target = Path(self.build_lib) / "lab" / "data" / kind
            target.mkdir(parents=True, exist_ok=True)
            for source in sorted(Path(kind).glob("*.[yj][as]*")):
                self.copy_file(str(source), str(target / source.name))
        note = Path(self.build_lib) / NOTE
        note.unlink(missing_ok=True)
        if REASON:
            tell(note, REASON)


class Compile(build_ext):
    """build_ext that uses all processors, and that, when the compiler fails, leaves pure Python."""

    def build_extensions(self) -> None:
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], *args: Any, **kwargs: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: compile_some([source], *args, **kwargs), sources)
                return [each for some in made for each in some]

        self.compiler.compile = compile_all
        super().build_extensions()

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions = []
            tell(Path(self.build_lib) / NOTE, f"the C compiler failed: {error}".splitlines()[0])


def tell(note: Path, reason: str) -> None:
    print(f"tcplab is installed as pure Python: {reason}", file=sys.stderr)
    note.write_text(reason + "\n", "utf-8")


EXTENSIONS, REASON = compiled()
setup(cmdclass={"build_py": Build, "build_ext": Compile}, ext_modules=EXTENSIONS)
