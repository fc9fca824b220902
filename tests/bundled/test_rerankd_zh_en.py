"""The model in the wheel, run as it ships.

golden.json holds scores before calibration, in fp32, from the published definition of the late-interaction graph: both
texts in one sequence, attention inside each part only, torch. It was written without any code of this repository.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rerankd
from rerankd.engines.base import Engine, Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import Reader, Snapshot
from rerankd.families.late_interaction import FAMILY

FOLDER = Path(rerankd.__file__).parent / "bundled" / "rerankd-zh-en"
CONFIG: dict[str, Any] = json.loads((FOLDER / "config.json").read_text("utf-8"))
CARD: dict[str, Any] = json.loads((FOLDER / "card.json").read_text("utf-8"))
GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden.json").read_text("utf-8"))
CALIBRATION = CONFIG["late_interaction"]["calibration"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return ENGINE.open(Graph(FOLDER / CONFIG["graph"]["file"], CONFIG["graph"]["precision"]))


def open_reader(cache_bytes: int = 16 << 20) -> Reader:
    snapshot = Snapshot(FOLDER, CONFIG, frozenset(file.name for file in FOLDER.iterdir()))
    assert FAMILY.recognises(snapshot)
    return FAMILY.open(snapshot, max_tokens=None, cache_bytes=cache_bytes)


def scores(reader: Reader, engine: Engine, query: str, documents: Sequence[str]) -> list[float]:
    work = reader.read(query, documents)
    return work.score(engine.run(work.encodings)).tolist()


def test_every_file_is_the_one_the_card_names() -> None:
    assert set(CARD["files"]) == {file.name for file in FOLDER.iterdir()} - {"card.json"}
    for name, facts in CARD["files"].items():
        data = (FOLDER / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (facts["bytes"], facts["sha256"]), name


def test_the_model_fits_in_the_wheel() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 45_000_000


def test_the_card_tells_what_people_ask_first() -> None:
    assert CARD["id"] == FOLDER.name
    assert CARD["kind"] == "late interaction"
    assert CARD["languages"] == ["zh", "en"]
    assert CARD["calibration"]["slope"] == CALIBRATION["slope"]
    assert set(CARD["quality"]) == {"cmrc_trial_sent", "nq_held"}
    assert all(row["mrr_at_10"]["int8"] > row["mrr_at_10"]["bm25"] for row in CARD["quality"].values())
    assert all(entry["licence"] for entry in CARD["data"])


def test_scores_stay_near_the_full_precision_definition(engine: Engine) -> None:
    reader = open_reader()
    raw = [scores(reader, engine, pair["query"], [pair["document"]])[0] for pair in GOLDEN]
    found = (np.array(raw) - CALIBRATION["bias"]) / CALIBRATION["slope"]
    gaps = found - np.array([pair["score"] for pair in GOLDEN])
    # Where the model was built, eight-bit arithmetic moved these by 0.15 (root mean square), 0.29 at most.
    assert np.sqrt(np.mean(np.square(gaps))) < 0.25
    assert np.abs(gaps).max() < 0.6


def test_a_score_is_the_same_from_the_cache_in_any_order_and_alone(engine: Engine) -> None:
    query, documents = "断电以后怎样恢复数据", sorted({pair["document"] for pair in GOLDEN}, key=len)
    reader = open_reader()
    fresh = scores(reader, engine, query, documents)
    assert reader.read(query, documents).encodings == []
    assert scores(reader, engine, query, documents) == fresh
    assert scores(reader, engine, query, documents[::-1]) == fresh[::-1]
    assert [scores(open_reader(0), engine, query, [document])[0] for document in documents] == fresh


def test_threads_that_share_the_model_agree(engine: Engine) -> None:
    reader = open_reader(cache_bytes=20_000)
    pairs = [(pair["query"], [pair["document"]]) for pair in GOLDEN if len(pair["document"]) < 100] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: scores(reader, engine, *pair), pairs))
    assert found == found[: len(pairs) // 4] * 4


@pytest.mark.parametrize("query", ["", "   ", "?!", "🎉", "\ud800", "什么是人工智能?"])
def test_odd_texts_score_finite_numbers(engine: Engine, query: str) -> None:
    documents = ["", "\n\t ", "?!", "👩‍👩‍👧", "\udfff", "</s>", "<pad><s>", "\x00", "a" * 3000]
    assert np.isfinite(scores(open_reader(), engine, query, documents)).all()


@pytest.mark.parametrize(
    ("query", "documents", "first"),
    [
        (
            "苹果手机有哪些新功能?",
            [
                "苹果是一种常见的水果,富含维生素C",
                "苹果公司发布了最新的iOS 17操作系统",
                "iPhone 15 Pro采用钛金属机身和USB-C接口",
            ],
            {1, 2},
        ),
        ("什么是人工智能?", ["Python是编程语言", "人工智能是计算机科学的分支", "机器学习通过数据训练模型"], {1}),
    ],
)
def test_everyday_lists_are_ranked_as_a_person_would(
    engine: Engine, query: str, documents: list[str], first: set[int]
) -> None:
    found = scores(open_reader(), engine, query, documents)
    assert set(np.argsort(found)[::-1][: len(first)].tolist()) == first
