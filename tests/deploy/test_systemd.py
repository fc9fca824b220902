"""The systemd unit: accepted by systemd itself, and closed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from programs import missing_program

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "rerankd.service"


@pytest.fixture
def analyze() -> str:
    return shutil.which("systemd-analyze") or missing_program("systemd-analyze")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here: systemd looks for it."""
    text = UNIT.read_text("utf-8")
    assert text.count("/opt/rerankd/bin/rerankd") == 1
    file = tmp_path / "rerankd.service"
    file.write_text(text.replace("/opt/rerankd/bin/rerankd", sys.executable), "utf-8")
    return file


def test_systemd_accepts_the_unit_without_a_word(analyze: str, unit: Path) -> None:
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "rerankd" not in done.stderr, done.stderr


def test_systemd_accepts_the_addition_for_gpus(analyze: str, unit: Path) -> None:
    folder = unit.with_name("rerankd.service.d")
    folder.mkdir()
    shutil.copy(UNIT.with_name("gpu.conf"), folder)
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "gpu.conf" not in done.stderr, done.stderr


def test_little_is_left_open(analyze: str, unit: Path) -> None:
    command = [analyze, "security", "--offline=true", "--threshold=20", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r"exposure level for rerankd.service: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    print(f"systemd's exposure level: {found[1]} of 10")
    assert done.returncode == 0, done.stdout


# The kernel's own form of what MemoryDenyWriteExecute does with a filter of system calls.
FORBIDDEN = """
import ctypes, mmap
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0, "no such prctl"  # PR_SET_MDWE
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    from rerankd import Reranker
    with Reranker() as reranker:
        print(reranker.rank("capital of France", ["bananas", "Paris is the capital of France"])[0].index)
"""


def test_the_bundled_model_runs_where_memory_cannot_be_written_and_then_run() -> None:
    done = subprocess.run([sys.executable, "-c", FORBIDDEN], capture_output=True, text=True, timeout=60, check=False)
    if "no such prctl" in done.stderr:
        pytest.skip("this kernel is older than 6.3 and cannot forbid it")
    assert done.stdout == "1\n", done.stderr
