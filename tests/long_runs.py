"""Scenarios in two sizes: short ones for every change, the full ones with SCENARIOS=full, which also judge speed.

A busy machine makes figures of time worthless, so the short forms print them and assert only what must always be true.
"""

import os
from pathlib import Path

FULL = os.environ.get("SCENARIOS") == "full"


def told(text: str) -> None:
    """Print a figure where pytest shows it (-s), and into SCENARIOS_LOG where that names a file."""
    print(text)
    if log := os.environ.get("SCENARIOS_LOG"):
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(text + "\n")


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` of the values lie; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
