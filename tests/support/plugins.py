"""Plugin packages of `examples/` as an installation would leave them, without pip: on the path, with entry points."""

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True)
class Plugin:
    """A package in `folder`, whose metadata lies in `site`; processes started here find both."""

    folder: Path
    site: Path

    def python(self, *words, **options):
        """Run `python WORDS...` in the package's folder and return the finished process."""
        path = os.pathsep.join([str(self.site), str(self.folder)])
        settings = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folder,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=280,
            **options,
        )

    def ssmtl(self, *words):
        """Run `ssmtl WORDS...`."""
        return self.python("-m", "ssmtl.cli", *words)

    def pytest(self, *words):
        """Run the package's own tests with its own configuration."""
        return self.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *words)

    def mypy(self, cache, *words):
        """Check the package strictly, as its author would, against the installed ssmtl."""
        return self.python("-m", "mypy", "--strict", "--cache-dir", cache, *words)


def install(name, site):
    """Write the metadata that `pip install examples/NAME` would, from its pyproject.toml, and return the plugin."""
    folder = EXAMPLES / name
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return Plugin(folder, site)
