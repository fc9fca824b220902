"""The rivals' environments: one venv each, made once from a pinned list, made anew when the list changes."""

import hashlib
import subprocess
import sys
import venv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import click

from comparison import places

_INSTALL_TIMEOUT_S = 1800
_TOLD = ("torch", "transformers", "sentence-transformers", "onnxruntime", "infinity_emb", "optimum-onnx", "FlashRank")


@cache
def python(name: str) -> str:
    """Return an environment's interpreter; installs it if need be, which takes minutes and up to 1.5 GB.

    Raises:
        subprocess.CalledProcessError: pip could not install the list; its output is on standard error.
    """
    requirements = places.REQUIREMENTS / f"{name}.txt"
    folder = places.ENVIRONMENTS / f"bench-{name}"
    interpreter = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "installed.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text("ascii") == digest:
        return str(interpreter)
    click.echo(f"installing the environment {folder.name} (once)", err=True)
    if not interpreter.exists():
        venv.create(folder, with_pip=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*pip, "-r", str(requirements)], check=True, timeout=_INSTALL_TIMEOUT_S, stdout=sys.stderr)
    stamp.write_text(digest, "ascii")
    return str(interpreter)


def program(name: str, script: str) -> str:
    """Return an installed program of an environment."""
    return str(Path(python(name)).with_name(script))


def versions() -> Mapping[str, Mapping[str, str]]:
    """Return the versions that matter, as pinned, by environment."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(places.REQUIREMENTS.glob("*.txt")):
        pins = dict(line.split("==") for line in file.read_text("utf-8").splitlines() if "==" in line)
        found[file.stem] = {name: pins[name] for name in _TOLD if name in pins}
    return found
