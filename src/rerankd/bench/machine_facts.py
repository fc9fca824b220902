"""The machine and the libraries that figures were measured with, so that figures can be compared later."""

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rerankd import __version__, machine

_TOLD = frozenset(
    {
        *("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
        *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
        *("asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "svei8mm"),
    }
)
"""The processor features, by Linux's names, that matrix products depend on."""
_LIBRARIES = ("onnxruntime", "numpy", "tokenizers")


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What was measured on. `quota_cores` and `memory_limit_bytes` are a container's limits, None without any;

    `isa` holds the processor's features for matrix products, empty where the system does not tell. `date` is UTC.
    """

    date: str
    cpu: str
    cores: int
    quota_cores: float | None
    isa: tuple[str, ...]
    memory_bytes: int | None
    memory_limit_bytes: int | None
    system: str
    python: str
    versions: dict[str, str]


def describe_machine(root: Path = Path("/")) -> MachineFacts:
    """Look at this machine. Reads a few small files."""
    cpuinfo = _cpuinfo(root)
    flags = f"{cpuinfo.get('flags', '')} {cpuinfo.get('Features', '')}".split()
    memory = machine.memory(root)
    return MachineFacts(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        cores=machine.cores(),
        quota_cores=machine.core_quota(root),
        isa=tuple(sorted(_TOLD.intersection(flags))),
        memory_bytes=memory.total if memory else None,
        memory_limit_bytes=memory.limit if memory else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        versions={"rerankd": __version__, **{name: _version(name) for name in _LIBRARIES}},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpuinfo(root: Path) -> dict[str, str]:
    """Read the first processor's lines; {} where there is no such file."""
    try:
        text = (root / "proc" / "cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
