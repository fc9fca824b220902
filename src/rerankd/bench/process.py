"""What a process takes: CPU time and memory, as the system counts them."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Resident memory in bytes: now, and the most there ever was."""

    now: int
    peak: int


def memory_use(pid: int | None = None) -> MemoryUse | None:
    """Look at a process, by default this one; None where the system does not tell (elsewhere than on Linux)."""
    try:
        lines = Path(f"/proc/{os.getpid() if pid is None else pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    sizes = [int(fields[name][0]) * 1024 for name in ("VmRSS", "VmHWM") if fields.get(name)]
    return MemoryUse(*sizes) if len(sizes) == 2 else None


def cpu_seconds(pid: int) -> float | None:
    """Return a process's CPU time, user and system, without its children's; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
