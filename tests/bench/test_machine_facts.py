"""The machine is described from what the system tells."""

from pathlib import Path

from rerankd import __version__
from rerankd.bench.machine_facts import describe_machine
from rerankd.bench.process import cpu_seconds, memory_use


def test_processor_and_features_are_read_from_cpuinfo(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    one = "processor\t: 0\nmodel name\t: A Processor 9000\nflags\t\t: fpu avx2 avx512_vnni sse9\n"
    (tmp_path / "proc" / "cpuinfo").write_text(one + "\n" + one.replace("9000", "9001"))
    found = describe_machine(tmp_path)
    assert (found.cpu, found.isa) == ("A Processor 9000", ("avx2", "avx512_vnni"))


def test_arm_calls_its_flags_features(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd i8mm\n")
    assert describe_machine(tmp_path).isa == ("asimd", "i8mm")


def test_where_there_is_no_cpuinfo_something_is_said_nevertheless(tmp_path: Path) -> None:
    found = describe_machine(tmp_path)
    assert found.cpu
    assert found.isa == ()
    assert found.cores >= 1
    assert found.versions["rerankd"] == __version__
    assert found.versions["onnxruntime"]
    assert found.date.endswith("+00:00")


def test_a_process_that_is_gone_takes_nothing_known() -> None:
    assert memory_use(2**22 + 1) is None
    assert cpu_seconds(2**22 + 1) is None
