"""The parity certificate: signed where scores are equal, refused where they are not, gone when anything changes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jina_reference
import made_models
from rerankd.errors import ModelLoadError, ScoresDisagree, UnsupportedModel
from rerankd.families import qwen3
from rerankd.models.golden import check_golden
from rerankd.models.loader import Loader
from rerankd.registry import certificates
from rerankd.registry.catalog import find
from rerankd.registry.golden import Golden
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from rerankd.verification.pairs import pairs
from rerankd.verification.verify import Verification, verify
from tiny import tiny_bert, tiny_xlmr
from tiny_causal import tiny_gemma, tiny_qwen2, tiny_qwen3

MAKERS = {
    "tiny-xlmr": tiny_xlmr,
    "Qwen3-Reranker-0.6B": tiny_qwen3,
    "mxbai-rerank-base-v2": tiny_qwen2,
    "bge-reranker-v2-gemma": tiny_gemma,
}


def run(folder: Path, loader: Loader, *precisions: str) -> Verification:
    return verify(resolve(str(folder)), loader, precisions=precisions, progress=lambda done, total: None)


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    return Loader(Store(tmp_path / "store"))


def test_the_set_has_every_kind_of_pair_and_over_long_ones_are_longer_than_the_limit(
    loader: Loader, tmp_path: Path
) -> None:
    kinds = " ".join(one.kind for one in pairs())
    for wanted in ("short", "long", "over-long", "empty", "emoji", "code", "identical", "Chinese", "English", "Arabic"):
        assert wanted in kinds
    model = loader.load(resolve(str(tiny_bert(tmp_path / "bert"))), lambda _: None)
    for one in pairs():
        pair = one.pair(model.info.max_tokens)
        if one.fill:
            assert model.reader.read(pair.query, [pair.document]).truncated == (0,)


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_whose_scores_are_the_references_is_signed_off_and_says_so_when_loaded(
    name: str, tmp_path: Path
) -> None:
    folder = MAKERS[name](tmp_path / name)
    before = sorted(file.name for file in folder.iterdir())
    loader = Loader(Store(tmp_path / "store"), max_tokens=None if name == "tiny-xlmr" else 260)
    assert loader.load(resolve(str(folder)), lambda _: None).info.verified is None
    found = run(folder, loader)
    assert found.differences[0].max_abs_diff < 1e-5
    certificate = found.certificate
    assert certificate is not None
    assert set(certificate.hashes) == {"weights", "tokenizer", "config", "template"}
    verified = loader.load(resolve(str(folder)), lambda _: None).info.verified
    assert verified is not None
    assert (verified.max_abs_diff, verified.precision) == (certificate.max_abs_diff, "fp32")
    assert verified.reference.startswith("sentence-transformers" if name == "tiny-xlmr" else "transformers")
    assert sorted(file.name for file in folder.iterdir()) == before, "nothing is written beside the model"


def test_other_precisions_are_measured_beside_the_served_one(loader: Loader, tmp_path: Path) -> None:
    found = run(tiny_bert(tmp_path / "bert", std=0.1), loader, "bf16", "fp16")
    assert [(one.engine, one.precision) for one in found.differences] == [
        ("onnx", "fp32"), ("torch", "bf16"), ("torch", "fp16"),
    ]  # fmt: skip
    assert 0 < found.differences[0].max_abs_diff < found.differences[2].max_abs_diff
    assert found.differences[2].max_abs_diff < found.differences[1].max_abs_diff


def test_int8_and_fp32_are_both_compared_and_each_has_a_certificate_of_its_own(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "bert", std=0.1)
    loader = Loader(Store(tmp_path / "store"), precision="int8")
    found = run(folder, loader)
    assert [(one.engine, one.precision) for one in found.differences] == [("onnx", "int8"), ("onnx", "fp32")]
    eight, full = (one.max_abs_diff for one in found.differences)
    assert full < 1e-5 < eight < 0.05
    for precision, difference in (("int8", eight), ("fp32", full)):
        shown = replace(loader, precision=precision).load(resolve(str(folder)), lambda _: None).info.verified
        assert shown is not None
        assert (shown.precision, shown.max_abs_diff) == (precision, difference)


def test_a_wrong_template_is_not_signed_off_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")
    loader = Loader(Store(tmp_path / "store"), max_tokens=260)
    monkeypatch.setattr(qwen3, "_SUFFIX", "<|im_end|>\n<|im_start|>assistant\n")
    found = run(folder, loader)
    assert found.certificate is None
    assert not found.differences[0].near
    assert not (loader.store.root / "verified").exists()


def certified(tmp_path: Path) -> tuple[Path, Loader, Path]:
    folder, loader = tiny_bert(tmp_path / "bert"), Loader(Store(tmp_path / "store"))
    assert run(folder, loader).certificate
    (file,) = (loader.store.root / "verified").iterdir()
    return folder, loader, file


def verified(folder: Path, loader: Loader) -> bool:
    return loader.load(resolve(str(folder)), lambda _: None).info.verified is not None


def test_a_certificate_is_of_these_very_files_and_this_very_limit(tmp_path: Path) -> None:
    folder, loader, _ = certified(tmp_path)
    assert verified(shutil.copytree(folder, tmp_path / "copy"), loader)
    assert not verified(folder, replace(loader, max_tokens=32))
    assert not verified(folder, replace(loader, engine="torch"))
    assert not verified(tiny_bert(tmp_path / "other", seed=3), loader)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": False}))
    assert not verified(folder, loader)


@pytest.mark.parametrize(
    "change",
    [
        {"max_abs_diff": 0.0},
        {"versions": {}},
        {"sha256": "0"},
    ],
)
def test_a_certificate_that_was_edited_certifies_nothing(change: dict[str, Any], tmp_path: Path) -> None:
    folder, loader, file = certified(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert not verified(folder, loader)
    file.write_text("{half")
    assert not verified(folder, loader)


def test_a_certificate_for_another_version_of_the_engines_library_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, loader, _ = certified(tmp_path)
    assert verified(folder, loader)
    monkeypatch.setattr(certificates, "engine_version", lambda _: "0.0.1")
    assert not verified(folder, loader)


def test_a_model_without_another_implementation_is_told_so(loader: Loader) -> None:
    with pytest.raises(UnsupportedModel, match="no implementation but this one"):
        run(Path("rerankd-zh-en"), loader)


def test_a_store_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    folder, loader, file = certified(tmp_path)
    content = json.loads(file.read_text())
    content.pop("sha256")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(ModelLoadError, match=r"models\.store"):
        certificates.write(blocked, certificates.Certificate(**content))
    assert verified(folder, loader)


PUBLISHED: dict[str, Callable[[Path, Path], Path]] = {
    "jina-reranker-v2": lambda at, other: made_models.as_jina_v2(at, made_models.xlm_roberta(other)),
    "gte-multilingual-reranker": lambda at, other: made_models.as_published_gte(at, made_models.gte(other)),
    "gte with NTK scaling": lambda at, other: made_models.as_published_gte(
        at, made_models.gte(other), rope_theta=20_000.0, rope_scaling={"type": "ntk", "factor": 8.0}
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_model_published_with_code_of_its_own_is_compared_under_the_names_of_transformers(
    name: str, loader: Loader, tmp_path: Path
) -> None:
    folder = PUBLISHED[name](tmp_path / "published", tmp_path / "original")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    found = run(folder, loader)
    assert found.certificate is not None, found.differences
    assert "ForSequenceClassification" in found.reference
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_reference_that_would_run_on_random_numbers_judges_nobody(loader: Loader, tmp_path: Path) -> None:
    folder = jina_reference.write(tmp_path / "jina-v1", normalised=True)
    with pytest.raises(UnsupportedModel, match="random numbers for 'bert"):
        run(folder, loader)


def test_the_bundled_model_gives_the_known_scores_of_its_card(loader: Loader) -> None:
    card = find("rerankd-zh-en")
    assert card is not None
    assert len(card.golden) >= 4
    model = loader.load(resolve("rerankd-zh-en"), lambda _: None)
    assert model.info.golden is not None
    assert model.info.golden.agree
    check_golden(card, model.reader, model.engine, precision="int8")
    for wrong in (card.golden[0].score + 2, np.nan):
        other = replace(card, golden=(Golden(card.golden[0].query, card.golden[0].document, wrong),))
        with pytest.raises(ScoresDisagree, match=r"models\.check_golden"):
            check_golden(other, model.reader, model.engine, precision="int8")
    off_by_two = replace(card, golden=(replace(card.golden[0], score=card.golden[0].score + 2),))
    check_golden(off_by_two, model.reader, model.engine, slack=2)


def test_a_model_that_disagrees_with_its_card_is_not_served_unless_told_to(loader: Loader, tmp_path: Path) -> None:
    card = find("rerankd-zh-en")
    assert card is not None
    folder = tiny_bert(tmp_path / "impostor")
    impostor = replace(resolve(str(folder)), card=replace(card, golden=(Golden("a", "b", 40.0),)))
    with pytest.raises(ScoresDisagree):
        loader.load(impostor, lambda _: None)
    assert replace(loader, check_golden=False).load(impostor, lambda _: None).info.id == "impostor"
