"""Where things lie: the repository, the models and stores that are made once, the rivals' environments, results."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
SUBJECTS = BENCHMARKS / "subjects"
REQUIREMENTS = BENCHMARKS / "environments"
RESULTS = BENCHMARKS / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
ENVIRONMENTS = Path(os.environ.get("RERANKD_BENCH_ENVIRONMENTS", ROOT / ".venvs"))
CACHE = Path(os.environ.get("RERANKD_BENCH_CACHE", ROOT / ".cache" / "benchmarks"))
"""Models, converted graphs and logs: gigabytes, made again when they are missing."""


def model_folder(name: str) -> Path:
    """Where a made model lies."""
    return CACHE / "models" / name


def store() -> Path:
    """Rerankd's store of converted models."""
    return CACHE / "store"


def log_file(name: str) -> Path:
    """Where a server or worker writes what it has to say."""
    folder = CACHE / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.log"
