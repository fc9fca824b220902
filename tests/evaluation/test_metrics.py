"""Our measures against trec_eval's own code (pytrec_eval) and against ir-measures."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from rerankd.errors import InvalidRequest
from rerankd.evaluation import metrics
from rerankd.evaluation.trec import read_qrels, read_run

MEASURES = tuple(
    metrics.parse(name)
    for name in ("ndcg@10", "ndcg", "mrr", "map", "map@20", "recall@1", "recall@5", "recall@50", "p@1", "p@5", "p@30")
)
TREC_NAMES = (
    *("ndcg_cut_10", "ndcg", "recip_rank", "map", "map_cut_20", "recall_1", "recall_5", "recall_50"),
    *("P_1", "P_5", "P_30"),
)

Qrels = Mapping[str, Mapping[str, int]]
Scores = Mapping[str, Mapping[str, float]]


def ours(
    qrels: Mapping[str, Mapping[str, float]], run: Scores, measures: Sequence[metrics.Measure] = MEASURES
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for query, scored in run.items():
        ids, scores = list(scored), list(scored.values())
        judged = qrels[query]
        ranked = [judged.get(ids[place], 0.0) for place in metrics.order(scores, ids, "trec_eval")]
        found[query] = metrics.values(measures, ranked, list(judged.values()))
    return found


def theirs(qrels: Mapping[str, Mapping[str, float]], run: Scores) -> dict[str, list[float]]:
    whole = {query: {id_: int(gain) for id_, gain in judged.items()} for query, judged in qrels.items()}
    families = {"ndcg_cut.10", "ndcg", "recip_rank", "map", "map_cut.20", "recall.1,5,50", "P.1,5,30"}
    found = pytrec_eval.RelevanceEvaluator(whole, families).evaluate(run)
    return {query: [values[name] for name in TREC_NAMES] for query, values in found.items()}


def synthetic(seed: int, *, levels: int, ties: bool, unjudged: float) -> tuple[Qrels, Scores]:
    """Fifty queries, up to sixty documents each; some relevant documents are ranked nowhere."""
    random = np.random.default_rng(seed)
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for query in range(50):
        documents = [f"d{place:03}" for place in random.permutation(80)[: random.integers(1, 61)]]
        scores = random.integers(0, 6, len(documents)) if ties else random.permutation(len(documents))
        run[f"q{query}"] = {id_: float(score) / 4 for id_, score in zip(documents, scores, strict=True)}
        judged = [id_ for id_ in documents if random.random() >= unjudged]
        qrels[f"q{query}"] = {id_: int(random.integers(-1, levels)) for id_ in (*judged, "elsewhere", "d998", "d999")}
        qrels[f"q{query}"]["d997"] = levels - 1
    return qrels, run


@pytest.mark.parametrize(
    ("levels", "ties", "unjudged"),
    [(2, False, 0.0), (4, False, 0.5), (2, True, 0.5), (4, True, 0.9)],
    ids=["binary", "graded, half unjudged", "ties", "graded ties, most unjudged"],
)
def test_synthetic_runs_measure_as_trec_eval_measures_them(levels: int, ties: bool, unjudged: float) -> None:
    qrels, run = synthetic(7, levels=levels, ties=ties, unjudged=unjudged)
    expected = theirs(qrels, run)
    for query, values in ours(qrels, run).items():
        assert values == pytest.approx(expected[query], abs=1e-9)


def test_a_real_run_measures_as_trec_eval_measures_it(real_run: tuple[Path, Path]) -> None:
    qrels = read_qrels(real_run[0])
    run = {query: dict(ranking) for query, ranking in read_run(real_run[1]).items()}
    assert len(run) >= 40
    expected = theirs(qrels, run)
    for query, values in ours(qrels, run).items():
        assert values == pytest.approx(expected[query], abs=1e-9)


def test_reciprocal_rank_is_cut_off_as_ir_measures_does() -> None:
    qrels, run = synthetic(11, levels=3, ties=False, unjudged=0.3)
    names = {
        ir_measures.parse_measure("RR"): metrics.parse("mrr"),
        ir_measures.parse_measure("AP@7"): metrics.parse("map@7"),
    }
    for theirs_, mine in names.items():
        expected = {each.query_id: each.value for each in ir_measures.iter_calc([theirs_], qrels, run)}
        found = ours(qrels, run, [mine])
        assert {query: values[0] for query, values in found.items()} == pytest.approx(expected, abs=1e-9)
    for query, (whole, cut) in ours(qrels, run, [metrics.parse("mrr"), metrics.parse("mrr@3")]).items():
        assert cut == (whole if whole >= 1 / 3 else 0.0), query


def test_equal_scores_keep_the_order_given_or_fall_as_in_trec_eval() -> None:
    scores, ids = [0.5, 1.0, 0.5, 0.5], ["b", "x", "c", "a"]
    assert [ids[place] for place in metrics.order(scores)] == ["x", "b", "c", "a"]
    assert [ids[place] for place in metrics.order(scores, ids, "trec_eval")] == ["x", "c", "b", "a"]


def test_a_score_that_is_no_number_comes_last() -> None:
    assert metrics.order([float("nan"), -5.0, 2.0]).tolist() == [2, 1, 0]


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=30))
def test_the_order_is_the_scores_order_and_loses_nobody(scores: list[float]) -> None:
    ids = [f"d{place}" for place in range(len(scores))]
    for ties in ("given", "trec_eval"):
        order = metrics.order(scores, ids, ties).tolist()
        assert sorted(order) == list(range(len(scores)))
        ranked = [scores[place] for place in order]
        assert ranked == sorted(ranked, reverse=True)


def test_a_query_with_nothing_relevant_measures_nothing() -> None:
    assert metrics.values(MEASURES, [0.0, 0.0], [0.0, -2.0]) == [0.0] * len(MEASURES)


def test_what_is_relevant_enough_can_be_said() -> None:
    measures = [metrics.parse("mrr"), metrics.parse("recall@2")]
    assert metrics.values(measures, [1.0, 2.0], [1.0, 2.0]) == [1.0, 1.0]
    assert metrics.values(measures, [1.0, 2.0], [1.0, 2.0], relevant_from=2) == [0.5, 1.0]


@pytest.mark.parametrize(
    ("written", "shown"),
    [("ndcg@10", "nDCG@10"), ("RR@10", "MRR@10"), ("AP", "MAP"), ("R@50", "Recall@50"), ("p@1", "P@1")],
)
def test_measures_are_named_as_people_name_them(written: str, shown: str) -> None:
    assert str(metrics.parse(written)) == shown


@pytest.mark.parametrize("written", ["bleu", "ndcg@0", "ndcg@ten", "", "p"])
def test_an_unknown_measure_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequest, match=r"ndcg@10|precision@5"):
        metrics.parse(written)


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """BM25's ranking of the sample set's texts, all of them for every query: a run with many ties at 0."""
    from rerankd.evaluation.bm25 import Bm25
    from rerankd.evaluation.sets import sample
    from rerankd.evaluation.trec import write_run

    folder = tmp_path_factory.mktemp("real")
    queries = sample().queries
    texts = {id_: text for query in queries for id_, text in zip(query.ids, query.documents, strict=True)}
    ids, index = list(texts), Bm25.build(texts.values())
    rankings = [(query.id, list(zip(ids, index.scores(query.query).tolist(), strict=True))) for query in queries]
    write_run(folder / "bm25.trec", rankings, "bm25")
    with gzip.open(folder / "qrels.txt.gz", "wt", encoding="utf-8") as stream:
        for query in queries:
            stream.writelines(f"{query.id} 0 {id_} {gain:g}\n" for id_, gain in query.judgements.items())
    return folder / "qrels.txt.gz", folder / "bm25.trec"
