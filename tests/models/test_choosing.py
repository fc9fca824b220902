"""fp32 or int8: what follows from what was asked for and what was measured."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from rerankd import machine
from rerankd.convert.agreement import Agreement
from rerankd.convert.convert import convert, existing_graph
from rerankd.engines.base import Engine, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.errors import ModelLoadError
from rerankd.families.base import Snapshot
from rerankd.families.cross_encoder import FAMILY
from rerankd.models import choosing
from rerankd.models.choosing import Convertible, Prepared, choose, ready_made
from rerankd.models.notes import EightBitNote, Note, Wanted, read_note, write_note
from rerankd.models.precision import NoEightBits, make_eight_bits, score
from rerankd.registry.store import Store
from tiny import snapshot, tiny_bert

GOOD = EightBitNote(Agreement(12, 144, 2.0, 0.02, 0.1, 0.995, 0.98, 1.0, 0.98), gain=1.8, weight_limit=127)
BAD = replace(GOOD, agreement=Agreement(12, 144, 2.0, 0.3, 0.9, 0.9, 0.8, 0.7, 0.8))
SLOW = replace(GOOD, gain=1.1)


def silent(*_: object) -> None:
    """Hear nothing."""


class Choose(Protocol):
    """Choose in a store of its own, as if int8 had been measured to be what the fixture was told."""

    def __call__(self, wanted: Wanted, *, measure: bool = True) -> Prepared: ...


Measured = Callable[[EightBitNote | str], Choose]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Convertible:
    source = snapshot(tiny_bert(tmp_path_factory.mktemp("models") / "bert", std=0.1))
    return Convertible(
        "key", "texts", 1 << 30, lambda folder, numbers: convert(source, folder, numbers),
        lambda: FAMILY.open(source, max_tokens=None, cache_bytes=0),
    )  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Convertible) -> Measured:
    """Choose as if int8 had been measured to be this, or could not be made for the reason given; graphs are real."""

    def prepare(note: EightBitNote | str) -> Choose:
        def make(folder: Path, *_: object) -> Note:
            if isinstance(note, str):
                raise NoEightBits(note)
            graph = convert(snapshot(tiny_bert(tmp_path / "other")), folder)
            return Note("int8", graph.path.name, note)

        def ask(wanted: Wanted, *, measure: bool = True) -> Prepared:
            return choose(Store(tmp_path / "store"), model, ENGINE, wanted=wanted, measure=measure, say=silent)

        monkeypatch.setattr(choosing, "make_eight_bits", make)
        return ask

    return prepare


def test_auto_takes_int8_that_agrees_and_gains(measured: Measured) -> None:
    found = measured(GOOD)("auto")
    assert (found.graph.precision, found.level) == ("int8", logging.INFO)
    assert found.agreement["spearman"] == 0.995
    assert "error 2.0% of the spread of scores" in found.why
    assert "1.80 times as fast" in found.why


@pytest.mark.parametrize(
    ("note", "said"), [(BAD, "does not agree"), (SLOW, "gains too little"), ("it does not run", "it does not run")]
)
def test_auto_stays_with_fp32_and_says_why(measured: Measured, note: EightBitNote | str, said: str) -> None:
    found = measured(note)("auto")
    assert found.graph.precision == "fp32"
    assert said in found.why
    assert found.graph.path.is_file()
    assert found.slack == 0


def test_auto_measures_nothing_at_a_load_and_takes_what_was_measured_before(measured: Measured) -> None:
    ask = measured(GOOD)
    before = ask("auto", measure=False)
    assert (before.graph.precision, before.agreement) == ("fp32", {})
    assert "`rerankd convert`" in before.why
    ask("auto")
    after = ask("auto", measure=False)
    assert after.graph.precision == "int8"
    assert after.variant not in {"int8", before.variant}


def test_known_scores_may_be_twice_as_far_off_as_the_worst_built_in_text(measured: Measured) -> None:
    assert measured(GOOD)("int8").slack == pytest.approx(2 * 0.1 * 2.0)


def test_int8_that_was_asked_for_is_taken_with_a_warning(measured: Measured) -> None:
    found = measured(BAD)("int8")
    assert (found.graph.precision, found.level) == ("int8", logging.WARNING)
    assert "error 30.0%" in found.why


def test_int8_that_was_asked_for_and_agrees_needs_no_warning(measured: Measured) -> None:
    assert measured(GOOD)("int8").level == logging.INFO


def test_int8_that_was_asked_for_and_cannot_be_made_is_an_error_with_a_remedy(
    measured: Measured,
) -> None:
    with pytest.raises(ModelLoadError, match=r"does not run; set models\.precision to auto or fp32"):
        measured("it does not run")("int8")


def test_fp32_measures_nothing(measured: Measured, tmp_path: Path) -> None:
    found = measured(GOOD)("fp32")
    assert (found.graph.precision, found.agreement) == ("fp32", {})
    assert [folder.name for folder in (tmp_path / "store" / "prepared").iterdir() if folder.is_dir()] == [
        found.graph.path.parent.name
    ]


def test_auto_does_not_try_on_a_network_too_small_to_gain(tmp_path: Path, model: Convertible) -> None:
    found = choose(Store(tmp_path), replace(model, size=1000), ENGINE, wanted="auto", measure=True, say=silent)
    assert (found.graph.precision, found.agreement) == ("fp32", {})
    assert "so small" in found.why


def test_cpus_that_sum_bytes_in_another_way_have_graphs_of_their_own(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = measured(GOOD)
    folders: set[Path] = set()
    for wide in (True, False):
        monkeypatch.setattr(machine, "sums_bytes_exactly", lambda wide=wide: wide)
        folders.add(ask("int8").graph.path.parent)
    folders.add(ask("fp32").graph.path.parent)
    assert len(folders) == 3


def test_int8_is_made_measured_and_found_again(tmp_path: Path, model: Convertible) -> None:
    steps: list[str] = []

    def say(step: str, done: int, total: int) -> None:
        assert done < total
        steps.append(step)

    def ask() -> Prepared:
        return choose(Store(tmp_path), model, ENGINE, wanted="int8", measure=False, say=say)

    found = ask()
    assert steps[0] == "writing fp32"
    assert steps.count("scoring the built-in texts in fp32") == 12
    folder = found.graph.path.parent
    assert sorted(file.name for file in folder.iterdir()) == ["graph.json", "model.onnx", "model.onnx.data"]
    assert found.agreement["pairs"] == 144
    assert isinstance(found.agreement["gain"], float)
    done = len(steps)
    assert ask() == found
    assert len(steps) == done, "nothing is made twice"


@pytest.mark.parametrize("wide", [True, False])
def test_weights_keep_to_what_the_cpu_can_sum(
    tmp_path: Path, model: Convertible, monkeypatch: pytest.MonkeyPatch, wide: bool
) -> None:
    monkeypatch.setattr(machine, "sums_bytes_exactly", lambda: wide)
    note = make_eight_bits(tmp_path, model.write, model.open_reader(), ENGINE, silent)
    assert note.eight_bits is not None
    assert note.eight_bits.weight_limit == (127 if wide else 64)


def test_a_server_that_shuts_down_ends_the_work_and_leaves_nothing(tmp_path: Path, model: Convertible) -> None:
    def say(step: str, done: int, total: int) -> None:
        if step.endswith("in int8"):
            raise ModelLoadError("the server is shutting down")

    with pytest.raises(ModelLoadError, match="shutting down"):
        choose(Store(tmp_path), model, ENGINE, wanted="int8", measure=False, say=say)
    assert not [path for path in (tmp_path / "prepared").iterdir() if path.is_dir()]


def test_an_engine_that_cannot_run_int8_is_no_failure_of_the_model(tmp_path: Path, model: Convertible) -> None:
    class OnlyFull:
        """An engine of this version that does not know the operators."""

        def missing(self) -> str:
            return ""

        def plan(self, config: object) -> None:
            del config

        def open(self, graph: Graph) -> Engine:
            if graph.precision == "int8":
                raise ModelLoadError("'model.onnx' is no graph that onnxruntime can run")
            return ENGINE.open(graph)

    found = choose(Store(tmp_path), model, OnlyFull(), wanted="auto", measure=True, say=silent)
    assert found.graph.precision == "fp32"
    assert "int8 does not run here" in found.why


def test_the_same_graph_twice_agrees_in_everything(tmp_path: Path, model: Convertible) -> None:
    from rerankd.convert.agreement import agreement
    from rerankd.convert.formats import FullPrecision

    engine = ENGINE.open(model.write(tmp_path, FullPrecision()))
    first, second = (score(model.open_reader(), engine, "", silent) for _ in range(2))
    assert agreement(first, second).error == 0


def test_a_damaged_note_is_said_in_a_sentence(tmp_path: Path) -> None:
    write_note(tmp_path, Note("int8", "model.onnx", GOOD))
    assert read_note(tmp_path) == Note("int8", "model.onnx", GOOD)
    (tmp_path / "graph.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="remove that folder") as failure:
        read_note(tmp_path)
    assert str(tmp_path.parent) not in str(failure.value)


@pytest.mark.parametrize(
    ("wanted", "level"), [("auto", logging.INFO), ("int8", logging.INFO), ("fp32", logging.WARNING)]
)
def test_a_model_that_ships_as_a_graph_is_run_as_that(tmp_path: Path, wanted: Wanted, level: int) -> None:
    (tmp_path / "model.onnx").touch()
    shipped = Snapshot(
        tmp_path, {"graph": {"precision": "int8", "agreement": {"error": 0.03}}}, frozenset({"model.onnx"})
    )
    graph = existing_graph(shipped)
    assert graph is not None
    found = ready_made(graph, shipped, wanted)
    assert (found.graph, found.agreement, found.level) == (graph, {"error": 0.03}, level)
