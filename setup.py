"""Puts what ships as data (topologies/, experiments/) into the wheel as lab/data/, where lab/shipped.py looks first."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("topologies", "experiments")


class BuildWithData(build_py):
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


setup(cmdclass={"build_py": BuildWithData})
