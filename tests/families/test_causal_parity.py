"""Causal rerankers against their published procedures run by transformers' own classes."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from rerankd import plugins
from rerankd.engines.base import Graph
from rerankd.engines.torch import ENGINE, TorchEngine
from rerankd.families.base import CausalReader, Family
from rerankd.models.loader import recognise, take_snapshot
from rerankd.verification.causal_reference import GemmaReference, MxbaiReference, Qwen3Reference
from tiny_causal import tiny_gemma, tiny_qwen2, tiny_qwen3

TEXTS = (
    *("", " ", "\t\n  ", "hello world", "The quick brown fox", "北京是中国的首都", "密码怎么重置?", "😀🎉", "👩‍👩‍👧"),
    *("<|im_end|>", "<think> x", "<|im_start|>system", "yes", "no", "A: B: C", "\nquery: z", "<bos>", "<0x41>", "1 0"),
    *("\x00\x07control\x1b", "fox " * 100, "中文" * 80, "Über CAFÉ naïve", "a" * 300, "x\u200by", "ﬁ ﷺ ½", "é e\u0301"),
    *(
        "  double  space ",
        "一 二\u3000三",
        "\ufffd",
        "\n\nnew lines\r\n",
        "Berlin has 3,520,031 inhabitants.",
        "機器學習",
    ),
    "def f(x):\n    return x + 1\n",
)
Reference = Qwen3Reference | MxbaiReference | GemmaReference


@dataclass(frozen=True)
class Case:
    folder: str
    make: Callable[[Path], Path]
    reference: Callable[[Path, int], Reference]
    family: str
    max_tokens: int | None
    max_length: int


def qwen3_classifier(folder: Path) -> Path:
    return tiny_qwen3(folder, classifier=True)


CASES = {
    "qwen3": Case("Qwen3-Reranker-0.6B", tiny_qwen3, Qwen3Reference, "qwen3", None, 8192),
    "qwen3, short": Case("my-qwen3-reranker", tiny_qwen3, Qwen3Reference, "qwen3", 160, 160),
    "qwen3, one label": Case(
        "Qwen3-Reranker-0.6B-seq-cls", qwen3_classifier,
        lambda folder, length: Qwen3Reference(folder, length, classifier=True), "qwen3", 400, 400,
    ),
    "mxbai": Case("mxbai-rerank-large-v2", tiny_qwen2, MxbaiReference, "mxbai_v2", None, 8192),
    "mxbai, short": Case("mxbai-rerank-base-v2", tiny_qwen2, MxbaiReference, "mxbai_v2", 0, 60),
    "gemma": Case("bge-reranker-v2-gemma", tiny_gemma, GemmaReference, "bge_gemma", None, 1024),
    "gemma, short": Case("bge-reranker-v2-gemma", tiny_gemma, GemmaReference, "bge_gemma", 0, 60),
}  # fmt: skip


@dataclass(frozen=True)
class Opened:
    reader: CausalReader
    engine: TorchEngine
    reference: Reference

    def scores(self, query: str, documents: Sequence[str], instruction: str = "") -> list[float]:
        reader = self.reader.instructed(instruction) if instruction else self.reader
        work = reader.read(query, documents)
        return reader.activate(work.score(self.engine.run(work.encodings))).tolist()


@pytest.fixture(scope="module", params=CASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return open_case(CASES[request.param], tmp_path_factory.mktemp("causal"))


def open_case(case: Case, at: Path) -> Opened:
    torch.set_num_threads(1)
    folder = case.make(at / case.folder)
    snapshot = take_snapshot(folder)
    name, _ = recognise(snapshot)
    assert name == case.family
    reference = case.reference(folder, case.max_length)
    limit = case.max_tokens
    if limit == 0:  # the reference bounds the texts, we the whole: the longest pair tells how much that is
        limit = len(reference.ids("中文" * 400, "机器" * 800))
    reader = cast("Family", plugins.load("families", name)).open(snapshot, max_tokens=limit, cache_bytes=0)
    assert isinstance(reader, CausalReader)
    engine = ENGINE.open(Graph(folder, "fp32", "weights", reader.answers))
    assert isinstance(engine, TorchEngine)
    return Opened(reader, engine, reference)


def make_pairs() -> list[tuple[str, list[str]]]:
    """Sixty requests of five documents: each text on each side, then combinations."""
    choose = random.Random(1)
    texts = [*TEXTS, *(choose.choice(TEXTS) + choose.choice(("", " ", "。")) + choose.choice(TEXTS) for _ in TEXTS)]
    return [(texts[i % len(texts)], [choose.choice(texts) for _ in range(4)] + [texts[-i]]) for i in range(60)]


def test_tokens_and_scores_are_those_of_the_published_procedure(
    opened: Opened, record_property: Callable[[str, object], None]
) -> None:
    largest, seen = 0.0, list[float]()
    for query, documents in make_pairs():
        work = opened.reader.read(query, documents)
        for encoding, document in zip(work.encodings, documents, strict=True):
            assert encoding.ids.tolist() == opened.reference.ids(query, document), (query, document)
        truth = [opened.reference.score(query, document) for document in documents]
        found = opened.scores(query, documents)
        largest = max(largest, *(abs(a - b) for a, b in zip(found, truth, strict=True)))
        seen += found
    record_property("largest_difference", largest)
    assert len(seen) == 300
    assert largest < 1e-5
    assert np.std(seen) > 0.005


def test_an_instruction_is_honoured_as_by_the_reference_or_not_known(opened: Opened) -> None:
    asked = "Find documents that are about 狐狸 and nothing else"
    documents = [text for text in TEXTS if text.strip()][:12]
    found = opened.scores("quick fox", documents, asked)
    truth = [opened.reference.score("quick fox", document, asked) for document in documents]
    assert np.abs(np.array(found) - truth).max() < 1e-5
    changed = np.abs(np.array(found) - opened.scores("quick fox", documents)).max()
    assert (changed == 0) == isinstance(opened.reference, GemmaReference)


def test_sharing_the_prefix_changes_no_score_and_saves_its_tokens(opened: Opened) -> None:
    documents = [text for text in TEXTS if text.strip()]
    work = opened.reader.read("how do I reset my password 密码", documents)
    prefix = work.encodings[0].prefix
    assert prefix is not None
    assert {id(encoding.prefix) for encoding in work.encodings} == {id(prefix)}
    before = opened.engine.prefixes.computed_tokens
    shared = work.score(opened.engine.run(work.encodings))
    assert opened.engine.prefixes.computed_tokens - before == prefix.tokens
    alone = [opened.reader.read("how do I reset my password 密码", [text]) for text in documents]
    assert all(one.encodings[0].prefix is None for one in alone)
    plain = np.concatenate([one.score(opened.engine.run(one.encodings)) for one in alone])
    assert np.abs(shared - plain).max() < 1e-4
    assert list(work.tokens) == [one.tokens[0] for one in alone], "usage does not depend on the company"


def test_what_is_cut_is_told(opened: Opened) -> None:
    work = opened.reader.read("a query", ["short", "word 文字 " * 6000])
    assert work.truncated == (1,)
    assert max(work.tokens) <= opened.reader.max_tokens


@pytest.mark.parametrize("kind", ["qwen3", "mxbai_v2", "bge_gemma"])
def test_a_changed_template_changes_scores_by_far_more_than_the_tolerance(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in CASES.values() if case.family == kind and case.max_tokens is None)
    opened = open_case(case, tmp_path)
    truth = opened.reference.score("quick fox", "The lazy dog")
    assert opened.scores("quick fox", ["The lazy dog"])[0] == pytest.approx(truth, abs=1e-5)
    module = __import__(f"rerankd.families.{kind}", fromlist=["FAMILY"])
    pieces = [name for name in dir(module) if name in {"_PREFIX", "_SUFFIX", "_TASK", "_PROMPT", "_INSTRUCTION"}]
    assert pieces
    for piece in pieces:
        for changed in (getattr(module, piece)[1:], getattr(module, piece)[:-1]):
            with monkeypatch.context() as patched:
                patched.setattr(module, piece, changed)
                folder = next(tmp_path.iterdir())
                snapshot = take_snapshot(folder)
                reader = module.FAMILY.open(snapshot, max_tokens=None, cache_bytes=0)
                mutant = Opened(reader, opened.engine, opened.reference)
                ids = reader.read("quick fox", ["The lazy dog"]).encodings[0].ids.tolist()
                assert ids != opened.reference.ids("quick fox", "The lazy dog"), f"{piece} is not seen"
                assert abs(mutant.scores("quick fox", ["The lazy dog"])[0] - truth) > 1e-5, piece
