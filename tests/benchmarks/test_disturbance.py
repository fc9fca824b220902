"""Work of other programs is told from one's own, in a made-up /proc."""

import os
from pathlib import Path

from comparison.disturbance import Watch


def write(root: Path, *, used: int, idle: int, processes: dict[int, tuple[int, int]]) -> None:
    """Write ticks of all cores, and of each process its parent and its own ticks."""
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(f"cpu {used} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n")
    for pid, (parent, ticks) in processes.items():
        (root / f"proc/{pid}").mkdir(exist_ok=True)
        (root / f"proc/{pid}/stat").write_text(f"{pid} (a ) b) S {parent} 0 0 0 0 0 0 0 0 0 {ticks} 0 0 0 20 0\n")


def test_what_children_and_their_children_use_is_ones_own(tmp_path: Path) -> None:
    family = {os.getpid(): (1, 10), 900001: (os.getpid(), 0), 900002: (900001, 0), 900003: (1, 50)}
    write(tmp_path, used=1000, idle=1000, processes=family)
    watch = Watch(tmp_path)
    # Of 100 ticks used, 60 are ours: 20 here, 10 of the child, 30 of its child; the stranger used the other 40.
    later = {os.getpid(): (1, 30), 900001: (os.getpid(), 10), 900002: (900001, 30), 900003: (1, 90)}
    write(tmp_path, used=1100, idle=1100, processes=later)
    assert watch.others() == round(40 / 200 * (os.cpu_count() or 1), 2)


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path: Path) -> None:
    assert Watch(tmp_path).others() is None
