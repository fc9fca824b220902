"""Being scraped while processes come and go: numbers, never an error."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from rerankd import metrics_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two processes: the first has counted 3 and works on 1 thing, the second has counted 4 and works on 1."""
    metrics_files.prepare(tmp_path, 2)
    metrics_files.stand_in(tmp_path, "0")
    for number, counted in ((0, 3.0), (1, 4.0)):
        _write(tmp_path / f"counter_{number}.db", "seen", "seen_total", counted)
        _write(tmp_path / f"gauge_livesum_{number}.db", "busy", "busy", 1.0)
    return tmp_path


def _write(file: Path, metric: str, sample: str, value: float) -> None:
    written = MmapedDict(str(file))
    written.write_value(mmap_key(metric, sample, [], [], "Help."), value, 0.0)
    written.close()


def scraped(folder: Path) -> dict[str, float]:
    registry = CollectorRegistry()
    metrics_files.collect(folder, registry)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def _longer_on_paper(file: Path) -> None:
    file.write_bytes(struct.pack("i", 100) + file.read_bytes()[4:])


def _a_length_beyond_the_end(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:8] + struct.pack("i", 1 << 20) + file.read_bytes()[12:])


def _no_json(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'["seen"', b'{"seen"', 1))


def _listed_and_then_gone(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")  # it is listed, and cannot be opened: what a scrape sees that comes in between


@pytest.mark.parametrize(
    "damage", [_empty, _cut_off, _longer_on_paper, _a_length_beyond_the_end, _no_json, _listed_and_then_gone]
)
def test_a_file_that_goes_or_is_half_written_while_it_is_read_costs_its_own_numbers_only(
    folder: Path, damage: Callable[[Path], None]
) -> None:
    damage(folder / "counter_0.db")
    found = scraped(folder)
    assert found["seen_total"] == 4
    assert found["busy"] == 2


def test_a_file_that_is_whole_again_in_the_next_try_is_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (folder / "counter_0.db").read_bytes()
    _empty(folder / "counter_0.db")
    pauses: list[float] = []

    def written_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        (folder / "counter_0.db").write_bytes(whole)

    monkeypatch.setattr(metrics_files.time, "sleep", written_meanwhile)
    assert scraped(folder)["seen_total"] == 7
    assert len(pauses) == 1


def test_a_process_that_ended_leaves_its_counts_and_files_and_nothing_of_the_present(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert any(name.startswith("process_resident") for name in scraped(folder))
    metrics_files.forget(folder, 0)
    assert sorted(folder.iterdir()) == before
    found = scraped(folder)
    assert found["seen_total"] == 7
    assert found["busy"] == 1
    assert not any(name.startswith("process_resident") for name in found)
    _write(folder / "gauge_livesum_0.db", "busy", "busy", 5.0)  # another has taken its place
    assert scraped(folder)["busy"] == 6


def test_the_files_take_their_room_on_disk_before_anything_is_counted(tmp_path: Path) -> None:
    metrics_files.prepare(tmp_path, 1)
    files = list(tmp_path.glob("*.db"))
    assert len(files) == 3
    for file in files:
        assert file.stat().st_blocks * 512 >= file.stat().st_size


def test_a_folder_that_is_gone_is_no_error(folder: Path) -> None:
    shutil.rmtree(folder)
    assert scraped(folder) == {}
