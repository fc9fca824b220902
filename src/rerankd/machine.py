"""What this machine lets a process use: cores and memory, a container's limits included."""

import contextlib
import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# cgroup v1 writes "no limit" as the largest multiple of the page size below 2**63.
_NO_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory: the machine's, and the lowest container limit above this process (None: none found)."""

    total: int
    limit: int | None

    @property
    def usable(self) -> int:
        """The smaller of the two."""
        return self.total if self.limit is None else min(self.total, self.limit)


def give_back_memory() -> None:
    """Return freed memory to the system where the C library would keep it (glibc does)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def core_quota(root: Path = Path("/")) -> float | None:
    """Return the container's limit in cores of running time; None when there is none."""
    quotas: list[float] = []
    for folder in _groups(root, "cpu"):
        words = _read(folder / "cpu.max").split()
        if not words:
            words = [_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def usable_cores() -> int:
    """How many threads can compute at once: cores, or a container's quota where that is less; at least 1."""
    quota = core_quota()
    return cores() if quota is None else max(1, min(cores(), round(quota)))


def worker_threads(usable: int, *, workers: int, reserved_cores: int) -> int:
    """How many threads run networks: `workers`, or where that is 0 the usable cores less the reserved ones."""
    return workers or max(1, usable - reserved_cores)


def memory(root: Path = Path("/")) -> Memory | None:
    """Return the memory there is; None where the system does not tell."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    found: list[int] = []
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit() and int(text) < _NO_LIMIT:
                found.append(int(text))
    return Memory(total, min(found, default=None))


def sums_bytes_exactly(root: Path = Path("/")) -> bool:
    """Tell whether this CPU adds up products of bytes in 32 bits: VNNI or AMX on x86, any 64-bit ARM.

    Other x86 processors add pairs of them in 16 bits, which overflow. What is not known counts as such.
    """
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return True
    for line in _read(root / "proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(value.split())
    return False


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Every cgroup folder that may limit this process: its own and all above it, v2 and v1."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            base = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            base = root / "sys/fs/cgroup" / controller
        else:
            continue
        own = base / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
