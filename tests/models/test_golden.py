"""Models that pretend to be well-known ones: tiny ones of the same kind, at the same address of a hub on this machine.

The published weights are not at hand: that they give the known scores is not tested here.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hub.huggingface import HuggingFaceHub
from hub.server import files_of, running
from rerankd.engines.base import Array
from rerankd.errors import ScoresDisagree
from rerankd.models.golden import check_golden
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Loader
from rerankd.registry.catalog import Card, find
from rerankd.registry.golden import Golden, Scale
from rerankd.registry.options import read
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from rerankd.sources.base import Access
from tiny import tiny_bert

NAME = "cross-encoder/ms-marco-MiniLM-L6-v2"
PAIR = ("how do I reset my password", "click on 'forgot password'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("made") / "ms-marco-MiniLM-L6-v2")


@pytest.fixture
def loader(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(HuggingFaceHub()) as hub:
        for name in (NAME, "somebody/ms-marco-MiniLM-L6-v2"):
            hub.repository(name).push(files_of(folder), "main")
        store = Store(tmp_path / "store")
        yield Loader(store, Access(store.root, hf_endpoint=hub.url, timeout_s=2))


def load(loader: Loader, name: str, options: str = "") -> LoadedModel:
    entry = resolve(name)
    return loader.load(replace(entry, options=read([f"x: {options}"])["x"]), lambda _: None)


def test_a_model_that_pretends_to_be_a_well_known_one_is_refused_with_all_that_is_needed_to_judge(
    loader: Loader,
) -> None:
    card = find(NAME)
    assert card is not None
    with pytest.raises(ScoresDisagree) as refused:
        load(loader, NAME)
    said = str(refused.value)
    (known,) = (known for known in card.golden if f"{known.score:.5g}" in said)
    for told in (known.query, known.document[:40], known.source, card.id, "models.check_golden = false"):
        assert told in said
    assert "scores -" in said or "scores 0." in said, "the score that was found"


@pytest.mark.parametrize("by", ["the setting", "the model's own option"])
def test_told_to_serve_it_all_the_same_it_is_served_with_a_warning_and_says_so(
    loader: Loader, by: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        if by == "the setting":
            model = load(replace(loader, check_golden=False), NAME)
        else:
            model = load(loader, NAME, "check_golden=false")
    assert model.info.golden is not None
    assert not model.info.golden.agree
    assert model.info.golden.difference > model.info.golden.allowed
    (warning,) = (record.getMessage() for record in caplog.records if "known to score" in record.getMessage())
    assert "check_golden is false" in warning


def test_a_models_own_option_is_stricter_than_the_setting_too(loader: Loader) -> None:
    with pytest.raises(ScoresDisagree):
        load(replace(loader, check_golden=False), NAME, "check_golden=true")


def test_another_revision_of_the_repository_is_held_against_the_card_too(loader: Loader) -> None:
    with pytest.raises(ScoresDisagree):
        load(loader, f"hf:{NAME}@main")


def test_a_fine_tune_under_the_same_last_name_is_not_held_against_the_original(loader: Loader, folder: Path) -> None:
    for name in (str(folder), f"{NAME}={folder}", "somebody/ms-marco-MiniLM-L6-v2"):
        model = load(loader, name)
        assert model.info.golden is None, name
        assert model.info.names[0].casefold().startswith("ms-marco-minilm-l6")


@pytest.mark.parametrize("scale", ["logit", "probability"])
def test_a_model_that_gives_the_known_scores_says_how_near_and_whose_they_are(
    loader: Loader, folder: Path, scale: Scale
) -> None:
    card, model = _card(loader, folder, scale)
    entry = replace(resolve(str(folder)), card=card)
    told = loader.load(entry, lambda _: None).info.golden
    assert told is not None
    assert (told.agree, told.pairs, told.sources) == (True, 1, ("where it was read",))
    assert told.difference < 1e-5
    assert told.facts()["agree"] is True
    wrong = replace(card, golden=(replace(card.golden[0], score=card.golden[0].score + 0.2),))
    with pytest.raises(ScoresDisagree, match="where it was read"):
        check_golden(wrong, model.reader, model.engine)


def test_a_sigmoid_that_is_applied_twice_is_noticed(loader: Loader, folder: Path) -> None:
    class Twice:
        def __init__(self) -> None:
            self.max_tokens, self.score_type, self.read = (
                model.reader.max_tokens,
                model.reader.score_type,
                model.reader.read,
            )

        def activate(self, raw_scores: Array) -> Array:
            once = model.reader.activate(raw_scores)
            return np.asarray(1 / (1 + np.exp(-once)), np.float32)

    card, model = _card(loader, folder, "probability", tolerance=1e-5)
    with pytest.raises(ScoresDisagree):
        check_golden(card, Twice(), model.engine)


def test_pairs_that_do_not_fit_under_a_lower_limit_are_passed_over(loader: Loader) -> None:
    model = load(loader, NAME, "max_tokens=16")
    assert model.info.golden is None


class Coarser(NamedTuple):
    known_in: str
    served_in: str
    allowed: float
    measured: float = 0.0
    scale: Scale = "logit"


@pytest.mark.parametrize(
    "case",
    [
        Coarser("fp32", "fp32", 0.1),
        Coarser("fp32", "fp16", 0.2),
        Coarser("fp32", "bf16", 0.6),
        Coarser("bf16", "fp16", 0.1),  # the tolerance is that of bf16 already
        Coarser("fp32", "int8", 0.4, measured=0.3),
        Coarser("fp32", "int8", 1.1),  # somebody else's graph
        Coarser("fp32", "bf16", 0.225, scale="probability"),  # the sigmoid is nowhere steeper than a quarter
    ],
)
def test_what_a_coarser_precision_adds_is_allowed_and_no_more(loader: Loader, folder: Path, case: Coarser) -> None:
    card, model = _card(loader, folder, case.scale, tolerance=0.1)
    for off, agree in ((case.allowed - 0.01, True), (case.allowed + 0.01, False)):
        known = replace(card.golden[0], precision=case.known_in, score=card.golden[0].score + off)
        told = check_golden(
            replace(card, golden=(known,)), model.reader, model.engine,
            precision=case.served_in, slack=case.measured, refuse=False,
        )  # fmt: skip
        assert told is not None
        assert told.agree == agree
        assert told.allowed == pytest.approx(case.allowed)


def _card(loader: Loader, folder: Path, scale: Scale, tolerance: float = 0.001) -> tuple[Card, LoadedModel]:
    """A card whose known score is the one that the model in this folder gives."""
    card = find(NAME)
    assert card is not None
    model = load(loader, str(folder))
    work = model.reader.read(PAIR[0], [PAIR[1]])
    raw = work.score(model.engine.run(work.encodings))
    score = float(raw[0] if scale == "logit" else 1 / (1 + np.exp(-raw[0])))
    return replace(card, golden=(Golden(*PAIR, score, tolerance, scale, "fp32", "where it was read"),)), model
