"""Cores and memory are what the container leaves, in both versions of cgroups."""

import os
from pathlib import Path

import pytest

from rerankd import machine


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_without_limits_there_are_none(tmp_path: Path) -> None:
    memory = machine.memory(tmp_path)
    assert machine.core_quota(tmp_path) is None
    assert memory is not None
    assert memory.limit is None
    assert memory.usable == memory.total > 0
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)


def test_the_lowest_limit_above_a_process_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/pod/box/memory.max": "max\n",
            "sys/fs/cgroup/pod/memory.max": "1048576\n",
            "sys/fs/cgroup/pod/box/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/pod/cpu.max": "max 100000\n",
        },
    )
    memory = machine.memory(tmp_path)
    assert memory is not None
    assert (memory.limit, memory.usable) == (1048576, 1048576)
    assert machine.core_quota(tmp_path) == 1.5


@pytest.mark.parametrize(("limit", "expected"), [("2097152", 2097152), ("9223372036854771712", None)])
def test_the_first_version_of_cgroups_is_read_too(tmp_path: Path, limit: str, expected: int | None) -> None:
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/box\n2:cpu,cpuacct:/box\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": limit,
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    memory = machine.memory(tmp_path)
    assert memory is not None
    assert memory.limit == expected
    assert machine.core_quota(tmp_path) == 0.5


@pytest.mark.parametrize(
    ("usable", "workers", "reserved", "threads"), [(8, 0, 0, 8), (8, 0, 3, 5), (2, 0, 5, 1), (8, 3, 5, 3)]
)
def test_reserved_cores_are_left_to_others_unless_the_workers_are_counted(
    usable: int, workers: int, reserved: int, threads: int
) -> None:
    assert machine.worker_threads(usable, workers=workers, reserved_cores=reserved) == threads
