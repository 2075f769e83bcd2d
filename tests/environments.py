"""Wheels, and clean virtual environments to install them into."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "160", "NO_COLOR": "1"}


def pip(*arguments: object) -> None:
    """Run the pip of this interpreter; what it says is shown if it fails."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def build_wheel(project: Path, folder: Path) -> Path:
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, project)
    (wheel,) = folder.glob(f"{project.name.replace('-', '_')}-*.whl")
    return wheel


class Environment:
    """A virtual environment, made without any package."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.folder = folder
        self.python = folder / "bin/python"
        self.packages = next(folder.glob("lib/python*/site-packages"))

    def install(self, *wheels: Path, deps: bool) -> None:
        pip("--python", self.python, "install", *([] if deps else ["--no-deps"]), *wheels)

    def playpen(
        self, *arguments: object, cwd: Path, extra: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed ``playpen`` as a user would.

        Args:
            arguments: of the command line.
            cwd: the working directory.
            extra: a directory with further installed distributions.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment.update(SETTINGS)
        if extra is not None:
            environment["PYTHONPATH"] = str(extra)
        return subprocess.run(
            [self.folder / "bin/playpen", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env=environment,
        )


def output_of(done: subprocess.CompletedProcess[str], status: int = 0) -> str:
    """What a command printed, all white space as single blanks, once its exit code is checked."""
    text = done.stdout + done.stderr
    assert done.returncode == status, text
    assert "Traceback" not in text, text
    return " ".join(text.split())
