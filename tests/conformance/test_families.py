"""What every family promises, run with a real engine over a model of each."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import rerankd
from rerankd import plugins
from rerankd.convert.convert import can_convert, convert, existing_graph
from rerankd.engines import torch
from rerankd.engines.base import Array, Engine, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import CausalReader, Family, Reader, Snapshot
from rerankd.models.loader import recognise, take_snapshot
from rerankd.types import ScoreType
from tiny import tiny_xlmr
from tiny_causal import tiny_gemma, tiny_qwen2, tiny_qwen3

BUNDLED = Path(rerankd.__file__).parent / "bundled" / "rerankd-zh-en"
MODELS: dict[str, Callable[[Path], Path]] = {
    "bge_gemma": lambda folder: tiny_gemma(folder / "bge-reranker-v2-gemma"),
    "cross_encoder": lambda folder: tiny_xlmr(folder / "tiny"),
    "late_interaction": lambda _: BUNDLED,
    "mxbai_v2": lambda folder: tiny_qwen2(folder / "mxbai-rerank-base-v2", max_position_embeddings=512),
    "qwen3": lambda folder: tiny_qwen3(folder / "Qwen3-Reranker-0.6B"),
}
NAMES = plugins.names("families")
_NEAR = 1e-4
LONG = ["a" * 5000, "人工智能" * 2000]
ODD = ["", " ", "\n", "?!", "🎉", "ﷺ", "half an emoji \ud83d", "\x00", "<s>", "</s><pad>", *LONG]


@dataclass(frozen=True)
class Opened:
    snapshot: Snapshot
    reader: Reader
    engine: Engine

    def raw(self, query: str, documents: Sequence[str]) -> Array:
        work = self.reader.read(query, documents)
        return work.score(self.engine.run(work.encodings))


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("family")
    snapshot = take_snapshot(MODELS[request.param](folder))
    family = cast("Family", plugins.load("families", request.param))
    reader = family.open(snapshot, max_tokens=None, cache_bytes=0)
    if isinstance(reader, CausalReader):
        return Opened(snapshot, reader, torch.ENGINE.open(Graph(snapshot.folder, "fp32", "weights", reader.answers)))
    (folder / "graph").mkdir()
    graph = convert(snapshot, folder / "graph") if can_convert(snapshot) else existing_graph(snapshot)
    assert graph
    return Opened(snapshot, reader, ENGINE.open(graph))


def test_every_family_has_a_model_to_be_tested_with() -> None:
    assert set(NAMES) == set(MODELS)


def test_a_model_belongs_to_one_family(opened: Opened) -> None:
    name, _ = recognise(opened.snapshot)
    assert name in NAMES


def test_there_is_one_score_and_one_count_per_document(opened: Opened) -> None:
    documents = ["one", "two words", "三个字", "one"]
    work = opened.reader.read("what", documents)
    raw = work.score(opened.engine.run(work.encodings))
    assert raw.shape == (4,)
    assert raw.dtype == np.float32
    assert len(work.tokens) == 4
    assert all(count > 0 for count in work.tokens)
    assert raw[0] == pytest.approx(raw[3], abs=_NEAR if isinstance(opened.reader, CausalReader) else 0)


def test_no_documents_are_no_scores(opened: Opened) -> None:
    assert opened.raw("what", []).shape == (0,)


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_any_text_scores_a_finite_number_on_either_side(opened: Opened, text: str) -> None:
    assert np.isfinite(opened.raw(text, ["an ordinary document", text])).all()
    assert np.isfinite(opened.raw("an ordinary query", [text])).all()


def test_nothing_that_runs_is_longer_than_the_limit(opened: Opened) -> None:
    long = "word 人工智能 " * 1000
    work = opened.reader.read("an ordinary query", ["short", long])
    assert max(encoding.tokens for encoding in work.encodings) <= opened.reader.max_tokens
    assert work.truncated == (1,)


def test_a_score_does_not_depend_on_the_company_or_the_order(opened: Opened) -> None:
    documents = ["first document", "第二篇文档", "", "a third one that is longer than the others"]
    together = opened.raw("什么 is this", documents)
    exact = 0 if not isinstance(opened.reader, CausalReader) else _NEAR  # a packed batch sums in another order
    assert opened.raw("什么 is this", documents[::-1]).tolist() == pytest.approx(together[::-1].tolist(), abs=exact)
    alone = [float(opened.raw("什么 is this", [document])[0]) for document in documents]
    assert alone == pytest.approx(together.tolist(), abs=exact)


def test_threads_may_read_at_once(opened: Opened) -> None:
    queries = [f"query {i} 查询" for i in range(20)]
    alone = [opened.raw(query, ["a document", "另一篇"]).tolist() for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda query: opened.raw(query, ["a document", "另一篇"]).tolist(), queries)) == alone


def test_activation_keeps_the_order_and_says_its_scale(opened: Opened) -> None:
    raw = np.array([-1000, -3.5, -0.1, 0, 0.1, 3.5, 1000], np.float32)
    scores = opened.reader.activate(raw)
    assert scores.tolist() == sorted(scores.tolist())
    assert len(set(scores[1:6].tolist())) == 5
    if opened.reader.score_type is ScoreType.PROBABILITY:
        assert (scores >= 0).all()
        assert (scores <= 1).all()
    each = [opened.reader.activate(raw[i : i + 1])[0] for i in range(len(raw))]
    assert each == scores.tolist(), "a score must not depend on its neighbours"
