"""Words to systems, and what each of them answers: baselines, runs, models, and servers of several dialects."""

from contextlib import closing
from pathlib import Path

import pytest

from fake_service import FakeService, probability
from live_server import running_fake
from rerankd import Reranker
from rerankd.errors import InvalidRequest, NotAuthenticated, RerankError, ServerUnreachable
from rerankd.evaluation.endpoints import Endpoint
from rerankd.evaluation.judged import JudgedQuery, JudgedSet
from rerankd.evaluation.judging import Evaluation, Rules, judge, judgeable
from rerankd.evaluation.opening import Spec, baselines, check_runs, distinct, opened, specify
from rerankd.evaluation.results import ALL, groups, suggestions
from rerankd.evaluation.systems import Bm25Order, GivenOrder, RunFile, System
from rerankd.types import ScoreType

QUERIES = (
    JudgedQuery("1", "how do cats purr", ("a", "b"), ("Dogs bark.", "Cats purr."), {"a": 0, "b": 1}, "en"),
    JudgedQuery("2", "猫怎么叫", ("c", "d"), ("狗会叫。", "猫会发出呼噜声,猫怎么叫?"), {"d": 2, "x": 1}, "zh"),
    JudgedQuery("3", "nothing found", (), (), {"y": 1}, "en"),
)
PETS = JudgedSet("pets", QUERIES)


def no_model(name: str) -> Reranker:
    raise AssertionError(f"nobody asked for {name}")


def opened_server(url: str) -> list[tuple[float, ...]]:
    with opened(specify(url), open_model=no_model) as system:
        return [answer.scores for answer in system.answers(PETS)]


def by_fake(query: JudgedQuery) -> tuple[float, ...]:
    return tuple(probability(query.query, document) for document in query.documents)


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/rerank", "/v2/rerank", "/cohere/v2/rerank", "/jina/v1/rerank", "/tei/rerank"]
)
def test_servers_of_several_dialects_give_the_same_scores(path: str) -> None:
    with running_fake(FakeService()) as url:
        scores = opened_server(url + path)
    assert scores == [pytest.approx(by_fake(query)) for query in QUERIES]
    assert scores[2] == ()


def test_a_server_is_told_the_model_that_stands_behind_the_hash() -> None:
    service = FakeService()
    with running_fake(service) as url:
        opened_server(f"{url}#tiny")
        opened_server(f"{url}/v1/rerank#example/tiny-reranker")
    assert {request.model for request, _ in service.asked} == {"tiny", "example/tiny-reranker"}


def test_an_endpoint_that_is_none_says_so() -> None:
    with running_fake(FakeService()) as url:
        with closing(Endpoint(f"{url}/health/rerank")) as endpoint, pytest.raises(RerankError):
            endpoint.rank("q", ["d"])
        with closing(Endpoint(f"{url}/v1/rerank")) as endpoint, pytest.raises(InvalidRequest):
            endpoint.rank("q", [])
    with closing(Endpoint("http://127.0.0.1:9/rerank")) as endpoint, pytest.raises(ServerUnreachable, match="nothing"):
        endpoint.rank("q", ["d"])


def test_a_refused_key_ends_the_evaluation() -> None:
    service = FakeService()
    service.failure = NotAuthenticated("this key is not known here")
    with (
        running_fake(service) as url,
        closing(Endpoint(f"{url}/v1/rerank")) as endpoint,
        pytest.raises(NotAuthenticated),
    ):
        endpoint.rank("q", ["d"])
    assert len(service.asked) == 1


def test_baselines_score_by_place_and_by_shared_words() -> None:
    assert [answer.scores for answer in GivenOrder().answers(PETS)] == [(0, -1), (0, -1), ()]
    found = list(Bm25Order().answers(PETS))
    assert found[0].scores[1] > found[0].scores[0] == 0
    assert found[1].scores[1] > found[1].scores[0] == 0


def test_a_run_is_measured_by_its_own_documents() -> None:
    system = RunFile("mine", lambda _: {"2": [("x", 3.0), ("nobody judged", 2.0), ("d", 1.0)]})
    verdict = judge(system, [PETS], Rules())
    assert verdict.values[:, 1].tolist() == [0.0, 1.0, 0.0], "MRR: no place for what it leaves out"
    assert 0 < verdict.values[1, 0] < 1
    assert not verdict.probabilities
    certain = judge(RunFile("sure", lambda _: {"2": [("d", 0.9), ("c", 0.25)]}), [PETS], Rules())
    assert certain.probabilities, "numbers from 0 to 1 are taken at their word"


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("bm25", Spec("BM25", "bm25", "bm25")),
        ("GIVEN", Spec("given order", "given", "GIVEN")),
        ("rerankd-zh-en", Spec("rerankd-zh-en", "model", "rerankd-zh-en")),
        ("./models/my-model/", Spec("my-model", "model", "./models/my-model/")),
        ("mine=./models/my-model", Spec("mine", "model", "./models/my-model")),
        ("http://h:8036", Spec("h:8036", "server", "http://h:8036")),
        ("http://h:8036/v1#bge", Spec("h:8036 bge", "server", "http://h:8036/v1#bge")),
        ("old=http://h/rerank?a=b", Spec("old", "server", "http://h/rerank?a=b")),
        ("http://h/rerank?a=b", Spec("h", "server", "http://h/rerank?a=b")),
    ],
)
def test_words_mean_systems(written: str, spec: Spec) -> None:
    assert specify(written) == spec


def test_a_run_file_is_known_by_what_is_in_it(workdir: Path) -> None:
    Path("bge.trec").write_text("q Q0 d 1 2.5 tag\n")
    assert specify("bge.trec") == Spec("bge", "run", "bge.trec")
    with opened(specify("bge.trec"), open_model=no_model) as system:
        assert isinstance(system, RunFile)


def test_every_set_has_a_run_of_its_own(workdir: Path) -> None:
    Path("pets.bge.trec").write_text("1 Q0 b 1 2.5 tag\n")
    Path("others.bge.trec").write_text("1 Q0 a 1 2.5 tag\n")
    sets = (PETS, JudgedSet("others", QUERIES[:1]))
    several, one = specify("{set}.bge.trec"), specify("pets.bge.trec")
    assert several.name == "bge"
    check_runs([several], sets)
    check_runs([one], sets[:1])
    with pytest.raises(InvalidRequest, match=r"name one run per set, with \{set\}"):
        check_runs([one], sets)
    with opened(several, open_model=no_model) as system:
        assert [next(iter(system.answers(judged))).ids for judged in sets] == [("b",), ("a",)]


@pytest.mark.parametrize("written", ["", "name="])
def test_a_word_that_names_nothing_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequest, match="names no system"):
        specify(written)


def test_systems_of_the_same_name_are_numbered() -> None:
    names = [spec.name for spec in distinct([specify(text) for text in ("a/m", "b/m", "bm25", "c/m")])]
    assert names == ["m", "m (2)", "BM25", "m (3)"]


@pytest.mark.parametrize(
    ("orders", "named", "expected"),
    [
        (["given"], [], ["given order", "BM25"]),
        (["none"], [], ["BM25"]),
        (["bm25"], [], ["BM25 (corpus)"]),
        (["bm25", "given"], ["bm25"], ["given order"]),
        (["given"], ["given", "bm25"], []),
    ],
)
def test_baselines_are_those_that_tell_something(orders: list[str], named: list[str], expected: list[str]) -> None:
    sets = [JudgedSet(str(i), QUERIES, order) for i, order in enumerate(orders)]
    assert [spec.name for spec in baselines(sets, [specify(text) for text in named])] == expected


def test_a_model_is_judged_through_the_library_and_closed(tiny: Path) -> None:
    with opened(specify(str(tiny)), open_model=Reranker) as system:
        answers = list(system.answers(PETS))
    assert all(answer.score_type is ScoreType.PROBABILITY for answer in answers if answer.ids)
    assert answers[0].tokens is not None
    assert answers[0].seconds is not None
    with Reranker(str(tiny)) as reranker:
        expected = reranker.score([(QUERIES[0].query, document) for document in QUERIES[0].documents])
    assert answers[0].scores == pytest.approx(tuple(expected), abs=1e-6)


def evaluated(*systems: System, sets: tuple[JudgedSet, ...] = (PETS,)) -> Evaluation:
    rules = Rules(resamples=200)
    return Evaluation(sets, rules, tuple(judge(system, sets, rules) for system in systems))


def test_results_are_broken_down_by_set_and_subset() -> None:
    other = JudgedSet("others", QUERIES[:1])
    found = groups(evaluated(Bm25Order(), GivenOrder(), sets=(PETS, other)), price_per_hour=3.6)
    assert [group.name for group in found] == [ALL, "pets", "pets [en]", "pets [zh]", "others"]
    first = found[0].standings[0]
    means = [next(iter(group.standings[0].estimates.values())).mean for group in (found[1], found[4])]
    assert next(iter(first.estimates.values())).mean == pytest.approx(sum(means) / 2), "sets weigh the same"
    assert first.speed is not None
    assert first.speed.cost_per_1000 is not None
    assert first.speed.cost_per_1000 == pytest.approx(first.speed.queries and 6 / first.speed.pairs_per_s / 4, rel=0.01)
    assert found[0].standings[1].speed is None
    duel = next(iter(found[1].duels[0].differences.values()))
    assert (found[1].duels[0].first, duel.wins, duel.draws, duel.losses) == ("BM25", 2, 1, 0)


def test_unjudged_documents_count_as_irrelevant_only_where_nothing_irrelevant_is_judged() -> None:
    run = RunFile("mine", lambda _: {query.id: [(id_, 0.5) for id_ in query.ids] for query in QUERIES})
    done = evaluated(run)
    suggested = suggestions(done, done.verdicts[0])
    assert suggested[-1].precision == pytest.approx(2 / 3), "c is unjudged, and judgements here name irrelevant ones"
    bare = JudgedSet("bare", QUERIES[1:2])
    done = evaluated(run, sets=(bare,))
    suggested = suggestions(done, done.verdicts[0])
    assert suggested[-1].precision == pytest.approx(1 / 2)


def test_queries_with_nothing_relevant_are_left_out() -> None:
    assert [query.id for query in judgeable(PETS, relevant_from=2).queries] == ["2"]
    with pytest.raises(InvalidRequest, match="gain of 3 or more"):
        judgeable(PETS, relevant_from=3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import tiny_bert

    return tiny_bert(tmp_path_factory.mktemp("models") / "tiny")
