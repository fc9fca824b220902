import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rerankd import plugins
from rerankd.engines.base import Array, Encoding
from rerankd.errors import EngineFailure, UnsupportedModel
from rerankd.families.base import Reader, Snapshot
from rerankd.families.late_interaction import FAMILY
from rerankd.types import JsonObject, JsonValue, ScoreType

WIDTH = 32
LIMIT = 12
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "q:", "d:", *(f"w{i}" for i in range(40))]
MIX: Mapping[str, JsonValue] = {"scale": 20.0, "cosine": 0.6, "maxsim": 1.4, "bias": -1.75}
SECTION: Mapping[str, JsonValue] = {
    "similarity": "cosine",
    "max_tokens": LIMIT,
    "special_ids": [0, 1, 2],
    "query": {"prefix": "q: ", "content_from": 2},
    "document": {"prefix": "d: ", "content_from": 2},
    "mix": MIX,
    "calibration": {"slope": 0.5, "bias": 1.0},
}
ODD_TEXTS = ["", "   ", "?!", "\u200d", "🎉", "\ud800", "\udfff w1", "</s> w1", "<pad>", "\x00", "w1 " * 50]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def snapshot(folder: Path, section: JsonValue = SECTION) -> Snapshot:
    config: JsonObject = {"model_type": "rerankd_late_interaction", "late_interaction": section}
    return Snapshot(folder, config, frozenset({"config.json", "tokenizer.json", "model.onnx"}))


def open_reader(folder: Path, *, cache_bytes: int = 1 << 20, max_tokens: int | None = None) -> Reader:
    return FAMILY.open(snapshot(folder), max_tokens=max_tokens, cache_bytes=cache_bytes)


def states(encoding: Encoding) -> Array:
    """A state that depends on the token, its place and the whole sequence, as an encoder's does."""
    whole = int(encoding.ids.sum())
    rows = [np.random.default_rng([int(i), place, whole]).normal(0.3, 1, WIDTH) for place, i in enumerate(encoding.ids)]
    return np.array(rows, np.float32)


def score(reader: Reader, query: str, documents: Sequence[str]) -> Array:
    work = reader.read(query, documents)
    return work.score([states(encoding) for encoding in work.encodings])


def defined_score(query: Sequence[int], document: Sequence[int]) -> float:
    """The definition, in full precision, token by token."""

    def encode(ids: Sequence[int]) -> tuple[Array, Array]:
        array = np.array(ids, np.int64)
        found = states(Encoding(array, np.zeros_like(array)))
        content = [place for place, i in enumerate(ids) if place >= 2 and i > 2]
        return found.mean(axis=0), found[content]

    def cosine(a: Array, b: Array) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    (query_mean, query_tokens), (document_mean, document_tokens) = encode(query), encode(document)
    maxsim = np.mean([max(cosine(q, d) for d in document_tokens) for q in query_tokens])
    return 0.5 * 20 * (0.6 * cosine(query_mean, document_mean) + 1.4 * float(maxsim) - 1.75) + 1.0


def test_the_family_is_found_by_its_name_and_recognises_its_models(folder: Path) -> None:
    assert plugins.load("families", "late_interaction") is FAMILY
    assert FAMILY.recognises(snapshot(folder))
    assert FAMILY.recognises(Snapshot(folder, {"architectures": ["RerankdLateInteraction"]}, frozenset()))
    assert not FAMILY.recognises(Snapshot(folder, {"model_type": "bert", "architectures": ["BertModel"]}, frozenset()))


def test_raw_scores_follow_the_definition(folder: Path) -> None:
    found = score(open_reader(folder), "w1 w2", ["w3 w4 w5", "w2"])
    expected = [defined_score([0, 4, 7, 8, 2], ids) for ids in ([0, 5, 9, 10, 11, 2], [0, 5, 8, 2])]
    # Codes of eight bits: each cosine is off by a few thousandths at a width of 32.
    np.testing.assert_allclose(found, expected, atol=0.08)


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("query", {"prefix": "d: ", "content_from": 2}),
        ("document", {"prefix": "", "content_from": 2}),
        ("query", {"prefix": "q: ", "content_from": 3}),
        ("document", {"prefix": "d: ", "content_from": 0}),
        ("special_ids", [0, 1]),
        ("max_tokens", 8),
        *(("mix", {**MIX, name: value}) for name, value in {"scale": 10, "cosine": 1, "maxsim": 1, "bias": 0}.items()),
        ("calibration", {"slope": 1.0, "bias": 1.0}),
        ("calibration", {"slope": 0.5, "bias": 0.0}),
    ],
)
def test_no_part_of_the_definition_could_be_lost_unnoticed(folder: Path, part: str, changed: JsonValue) -> None:
    reader = FAMILY.open(snapshot(folder, {**SECTION, part: changed}), max_tokens=None, cache_bytes=0)
    documents = ["w3 w4 w5 w6 w7 w8 w9 w10", "w2"]
    found, right = (score(one, "w1 w2", documents) for one in (reader, open_reader(folder)))
    assert np.abs(found - right).max() > 0.08, "more than the test of the definition allows"


def test_a_document_without_content_has_the_least_maxsim_and_a_query_without_content_none(folder: Path) -> None:
    reader = open_reader(folder)
    assert score(reader, "w1", [""])[0] < 0.5 * 20 * (0.6 - 1.4 - 1.75) + 1.0
    with_content, without = score(reader, "", ["w1", ""])
    for found in (with_content, without):
        assert 0.5 * 20 * (-0.6 - 1.75) <= found - 1.0 <= 0.5 * 20 * (0.6 - 1.75)


texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), min_size=1, max_size=8)


@given(query=st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), documents=texts, data=st.data())
def test_a_score_depends_on_nothing_but_its_pair(
    folder: Path, query: str, documents: list[str], data: st.DataObject
) -> None:
    alone = [float(score(open_reader(folder, cache_bytes=0), query, [document])[0]) for document in documents]
    cache_bytes = data.draw(st.sampled_from([0, 1500, 1 << 20]))
    reader = open_reader(folder, cache_bytes=cache_bytes)
    for order in (data.draw(st.permutations(range(len(documents)))), range(len(documents))):
        found = score(reader, query, [documents[index] for index in order])
        assert found.tolist() == [alone[index] for index in order]


def test_what_was_seen_before_needs_no_network_run_and_costs_the_same_tokens(folder: Path) -> None:
    reader = open_reader(folder)
    documents = ["w1 w2", "w3", "w4 " * 20]
    first = reader.read("w1", documents)
    assert len(first.encodings) == 4
    fresh = first.score([states(encoding) for encoding in first.encodings])
    again = reader.read("w1", documents)
    assert again.encodings == []
    assert again.score([]).tolist() == fresh.tolist()
    assert list(again.tokens) == list(first.tokens) == [4 + 5, 4 + 4, 4 + LIMIT]
    assert again.truncated == first.truncated == (2,)
    assert len(reader.read("w9", ["w3", "w5"]).encodings) == 2


def test_a_text_is_encoded_once_per_request_and_apart_as_query_and_as_document(folder: Path) -> None:
    work = open_reader(folder).read("w1", ["w2", "w1", "w2", "w2"])
    assert [encoding.ids.tolist() for encoding in work.encodings] == [[0, 4, 7, 2], [0, 5, 8, 2], [0, 5, 7, 2]]
    found = work.score([states(encoding) for encoding in work.encodings])
    assert found[0] == found[2] == found[3] != found[1]


def test_a_request_larger_than_the_cache_is_scored_in_full(folder: Path) -> None:
    documents = [f"w{i} w{j}" for i in range(20) for j in range(20)]
    kept = score(open_reader(folder, cache_bytes=1 << 30), "w1 w2", documents)
    reader = open_reader(folder, cache_bytes=3000)
    assert score(reader, "w1 w2", documents).tolist() == kept.tolist()
    assert score(reader, "w1 w2", documents).tolist() == kept.tolist()


def test_states_that_are_dropped_while_a_request_is_under_way_are_still_its_own(folder: Path) -> None:
    reader = open_reader(folder, cache_bytes=3000)
    expected = score(reader, "w1", ["w2"])
    work = reader.read("w1", ["w2"])
    assert work.encodings == []
    score(reader, "w3", [f"w{i}" for i in range(4, 30)])
    assert reader.read("w1", ["w2"]).encodings
    assert work.score([]).tolist() == expected.tolist()


def test_threads_that_share_a_reader_get_the_scores_of_one_alone(folder: Path) -> None:
    lists = [[f"w{(i * k) % 40} w{i}" for i in range(30)] for k in range(1, 25)]
    expected = [score(open_reader(folder, cache_bytes=0), "w5 w6", documents).tolist() for documents in lists]
    reader = open_reader(folder, cache_bytes=8000)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda documents: score(reader, "w5 w6", documents).tolist(), lists * 3))
    assert found == expected * 3


@pytest.mark.parametrize("query", ODD_TEXTS)
def test_any_text_scores_a_finite_number(folder: Path, query: str) -> None:
    found = score(open_reader(folder), query, ODD_TEXTS)
    assert np.isfinite(found).all()


def test_a_lone_surrogate_reads_as_the_replacement_character(folder: Path) -> None:
    work = open_reader(folder).read("\ud800", ["a\udfffb", "a\ufffdb"])
    assert len(work.encodings) == 2
    emoji = open_reader(folder).read("w1", ["\ud83c\udf89", "🎉"])
    assert len(emoji.encodings) == 2


def test_an_over_long_query_is_reported_on_every_document(folder: Path) -> None:
    reader = open_reader(folder, max_tokens=10)
    assert reader.max_tokens == 10
    assert reader.read("w1 " * 30, ["w1", "w2"]).truncated == (0, 1)
    assert reader.read("w1", ["w1 " * 6, "w1 " * 7, "w1 " * 8]).truncated == (2,)
    assert open_reader(folder, max_tokens=10_000).max_tokens == LIMIT


def test_a_text_far_beyond_the_limit_reads_like_its_beginning_and_like_the_whole(folder: Path) -> None:
    reader = open_reader(folder)
    words = reader.read("w1", ["w2 w3 " * 100_000, "w2 w3 " * 10])
    assert words.encodings[1].ids.tolist() == words.encodings[2].ids.tolist()
    spaced = reader.read("w1", ["w2" + " " * 5000 + "w3", "w2 w3"])
    assert [encoding.ids.tolist() for encoding in spaced.encodings[1:]] == [[0, 5, 8, 9, 2]] * 2
    assert words.truncated == (0, 1)
    assert spaced.truncated == ()


@pytest.mark.parametrize("wrong", ["nan", "short", "flat"])
def test_wrong_states_fail_the_request_and_are_not_remembered(folder: Path, wrong: str) -> None:
    reader = open_reader(folder)
    work = reader.read("w1", ["w2"])
    outputs = [states(encoding) for encoding in work.encodings]
    outputs[1] = {"nan": outputs[1] * np.float32(np.nan), "short": outputs[1][:-1], "flat": outputs[1][0]}[wrong]
    with pytest.raises(EngineFailure, match="4 tokens"):
        work.score(outputs)
    assert any(encoding.ids.tolist() == [0, 5, 8, 2] for encoding in reader.read("w1", ["w2"]).encodings)


def test_scores_are_probabilities_without_overflow(folder: Path) -> None:
    reader = open_reader(folder)
    raw = np.array([-1e30, -800, -2, 0, 2, 800, 1e30], np.float32)
    found = reader.activate(raw)
    assert reader.score_type is ScoreType.PROBABILITY
    np.testing.assert_allclose(found, [0, 0, 0.11920292, 0.5, 0.88079708, 1, 1], atol=1e-7)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("field", "value"),
    [("similarity", "euclid"), ("max_tokens", 2), ("mix", {"scale": 1.0}), ("calibration", None), ("reach", 3)],
)
def test_a_config_that_does_not_define_the_score_is_refused_by_name(folder: Path, field: str, value: JsonValue) -> None:
    with pytest.raises(UnsupportedModel, match=rf"late_interaction\.{field}"):
        FAMILY.open(snapshot(folder, {**SECTION, field: value}), max_tokens=None, cache_bytes=0)


def test_a_missing_or_damaged_tokenizer_is_refused_without_naming_a_path(tmp_path: Path) -> None:
    for content in (None, b"\xff\xfe not json", json.dumps({"version": "1.0"}).encode()):
        if content is not None:
            (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(UnsupportedModel, match=r"tokenizer\.json") as caught:
            FAMILY.open(snapshot(tmp_path), max_tokens=None, cache_bytes=0)
        assert str(tmp_path) not in str(caught.value)
