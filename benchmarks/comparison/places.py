"""Where things lie: the repository, the models and stores that are made once, the rivals' environments, results."""

import hashlib
import os
from pathlib import Path

import rerankd

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
SUBJECTS = BENCHMARKS / "subjects"
REQUIREMENTS = BENCHMARKS / "environments"
RESULTS = BENCHMARKS / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
ENVIRONMENTS = Path(os.environ.get("BENCHMARKS_ENVIRONMENTS", ROOT / ".venvs"))
CACHE = Path(os.environ.get("BENCHMARKS_CACHE", ROOT / ".cache" / "benchmarks"))
"""Models, converted graphs and logs: gigabytes, made again when they are missing."""


def model_folder(name: str) -> Path:
    """Where a made model lies."""
    return CACHE / "models" / name


def store() -> Path:
    """Rerankd's store of converted models: one per state of the converter's source.

    A store names what it holds by rerankd's version, which stays the same while somebody changes the converter.
    """
    source = Path(rerankd.__file__).parent
    parts = sorted([*source.glob("convert/**/*.py"), *source.glob("models/loader.py")])
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    return CACHE / "store" / digest


def log_file(name: str) -> Path:
    """Where a server or worker writes what it has to say."""
    folder = CACHE / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.log"
