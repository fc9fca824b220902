"""Virtual environments for clients whose pins conflict: one a requirements file, made once, kept under .venvs/.

`python tests/clients/environments.py` makes those that are missing; `... lock` writes the requirements files anew from
the `.in` files beside them. A locked file names every package exactly and is installed without its dependencies, so
what is tested does not drift, and no client can pull in torch.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, cast

ROOT = Path(__file__).parent.parent.parent
REQUIREMENTS = Path(__file__).parent / "requirements"
INSTALL_TIMEOUT_S = 600

_UNWANTED = re.compile(r"torch|nvidia|cuda|triton", re.IGNORECASE)


class EnvironmentUnavailableError(Exception):
    """An environment is not there and could not be made; the message says what pip said."""


class _Metadata(TypedDict):
    name: str
    version: str


class _Install(TypedDict):
    metadata: _Metadata


def names() -> Sequence[str]:
    """Name every environment."""
    return sorted(file.stem for file in REQUIREMENTS.glob("*.txt"))


def python_of(name: str) -> Path:
    """Return the interpreter of an environment, making it first if it is missing or was made from another file.

    Raises:
        EnvironmentUnavailableError: it could not be made, as on a machine without a package index.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = ROOT / ".venvs" / f"clients-{name}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = folder / "made-from"
    wanted = _fingerprint(requirements)
    if python.exists() and marker.exists() and marker.read_text("utf-8") == wanted:
        return python
    _make(folder)
    # Everything is named in the file: resolving again would cost a minute and might choose otherwise.
    _pip(python, "install", "--no-compile", "--no-deps", "--requirement", str(requirements))
    unfinished = marker.with_suffix(".part")
    unfinished.write_text(wanted, "utf-8")
    unfinished.replace(marker)
    return python


def lock(name: str) -> None:
    """Write an environment's requirements file: what pip chooses today for its `.in` file.

    A line marked `# no-deps` is taken as it stands.

    Raises:
        EnvironmentUnavailableError: pip finds no choice.
        ValueError: the choice has torch or CUDA in it.
    """
    lines = (REQUIREMENTS / f"{name}.in").read_text("utf-8").splitlines()
    alone = [line for line in lines if "# no-deps" in line]
    resolved = [line for line in lines if line and not line.startswith("#") and line not in alone]
    with tempfile.TemporaryDirectory() as work:
        _make(Path(work) / "venv")
        report = Path(work) / "report.json"
        python = Path(work) / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        _pip(python, "install", "--dry-run", "--report", str(report), *resolved)
        chosen = cast("list[_Install]", json.loads(report.read_text("utf-8"))["install"])
    pins = sorted(f"{_plain(each['metadata']['name'])}=={each['metadata']['version']}" for each in chosen)
    if unwanted := [pin for pin in pins if _UNWANTED.match(pin)]:
        raise ValueError(f"{name} would install {', '.join(unwanted)}")
    asked = sorted(line.split("#")[0].strip() for line in (*resolved, *alone))
    needed = [pin for pin in pins if pin not in {_pin(line) for line in asked}]
    text = "\n".join([f"# Written by environments.py lock from {name}.in.", *asked, "# What they need:", *needed, ""])
    target = REQUIREMENTS / f"{name}.txt"
    unfinished = target.with_suffix(".part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(target)


def _fingerprint(requirements: Path) -> str:
    made_of = f"{sys.version_info.major}.{sys.version_info.minor}\n{requirements.read_text('utf-8')}"
    return hashlib.sha256(made_of.encode()).hexdigest()


def _make(folder: Path) -> None:
    _run(sys.executable, "-m", "venv", "--clear", str(folder))


def _pip(python: Path, *arguments: str) -> None:
    _run(str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        said = [line for line in str(error.stderr).splitlines() if line.startswith("ERROR")]
        raise EnvironmentUnavailableError("; ".join(said) or str(error.stderr)[-500:]) from error
    except subprocess.TimeoutExpired as error:
        raise EnvironmentUnavailableError(f"pip took more than {INSTALL_TIMEOUT_S} s") from error


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pin(line: str) -> str:
    name, _, version = line.partition("==")
    return f"{_plain(name)}=={version}"


if __name__ == "__main__":
    wanted = [file.stem for file in sorted(REQUIREMENTS.glob("*.in"))]
    for each in wanted:
        if sys.argv[1:] == ["lock"]:
            lock(each)
        else:
            python_of(each)
