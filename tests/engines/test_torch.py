"""The torch engine: what it computes, what it shares, and what it does when memory runs out."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from rerankd.convert.convert import convert
from rerankd.engines import onnx
from rerankd.engines._torch_network import Piece, States
from rerankd.engines._torch_prefixes import PrefixStates
from rerankd.engines.base import Encoding, Engine, Graph, Plan, SharedPrefix
from rerankd.engines.torch import ENGINE, TorchEngine
from rerankd.errors import EngineFailure, ModelLoadError, UnsupportedModel
from tiny_causal import tiny_gemma, tiny_qwen2, tiny_qwen3

LENGTHS = (7, 3, 30, 1, 12, 60, 5)


def encodings(vocabulary: int = 200, seed: int = 0) -> list[Encoding]:
    random = np.random.default_rng(seed)
    return [
        Encoding(random.integers(3, vocabulary, length), random.integers(0, 2, length)) for length in LENGTHS
    ]  # fmt: skip


def opened(folder: Path, precision: str = "fp32", answers: tuple[int, ...] = ()) -> TorchEngine:
    torch.set_num_threads(1)
    engine = ENGINE.open(Graph(folder, precision, "weights", answers))
    assert isinstance(engine, TorchEngine)
    return engine


def rows(engine: Engine, batch: Sequence[Encoding]) -> np.ndarray[Any, Any]:
    return np.stack(engine.run(batch))


@pytest.mark.parametrize("make", [tiny.tiny_bert, tiny.tiny_roberta, tiny.tiny_xlmr])
@pytest.mark.parametrize("options", [{}, {"hidden_act": "gelu_new", "dtype": "float16", "shards": 2}])
def test_an_encoder_without_padding_gives_what_the_onnx_graph_gives(
    make: Callable[..., Path], options: dict[str, Any], tmp_path: Path
) -> None:
    folder = make(tmp_path / "model", **options)
    (tmp_path / "graph").mkdir()
    graph = onnx.ENGINE.open(convert(tiny.snapshot(folder), tmp_path / "graph"))
    batch = encodings(int(str(tiny.snapshot(folder).config["vocab_size"])))
    if make is not tiny.tiny_bert:  # one of them has the padding id inside, which RoBERTa does not count
        batch = [Encoding(np.where(one.ids % 7 == 0, 1, one.ids), np.zeros_like(one.ids)) for one in batch]
    assert np.abs(rows(opened(folder), batch) - rows(graph, batch)).max() < 1e-5


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (tiny_qwen3, {}),
        (tiny_qwen3, {"attention_bias": True, "tie_word_embeddings": False, "num_key_value_heads": 4}),
        (tiny_qwen2, {"num_key_value_heads": 1, "num_hidden_layers": 1}),
        (tiny_gemma, {"hidden_act": "gelu"}),
    ],
)
def test_a_language_model_gives_the_wanted_logits_of_the_last_token(
    make: Callable[..., Path], options: dict[str, Any], tmp_path: Path
) -> None:
    folder = make(tmp_path / "model", **options)
    reference: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    batch, answers = encodings(), (5, 300, 17)
    with torch.no_grad():
        logits = [reference(input_ids=torch.from_numpy(one.ids[None])).logits[0, -1] for one in batch]
    truth = np.stack([row[list(answers)].numpy() for row in logits])
    assert np.abs(rows(opened(folder, answers=answers), batch) - truth).max() < 1e-4 * np.abs(truth).max()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.02), ("bf16", 0.15)])
def test_half_precision_is_near_and_is_not_the_same(precision: str, tolerance: float, tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "model")
    full, half = (rows(opened(folder, kind, (5, 9)), encodings()) for kind in ("fp32", precision))
    assert 0 < np.abs(half - full).max() < tolerance * np.abs(full).max()


def with_prefix(prefix: SharedPrefix | None, seed: int) -> list[Encoding]:
    begin = np.random.default_rng(99).integers(3, 200, 40)
    return [
        Encoding(np.concatenate((begin, one.ids)), np.zeros(40 + one.tokens, np.int64), prefix)
        for one in encodings(seed=seed)
    ]


def test_a_shared_prefix_is_computed_once_for_all_batches_of_its_request(tmp_path: Path) -> None:
    engine = opened(tiny_qwen3(tmp_path / "model"), answers=(5, 9))
    plain = rows(engine, with_prefix(None, 1))
    prefix = SharedPrefix(40)
    batch = with_prefix(prefix, 1)
    shared = np.concatenate([rows(engine, batch[:3]), rows(engine, batch[3:])])
    assert np.abs(shared - plain).max() < 1e-4
    assert engine.prefixes.computed_tokens == 40
    assert engine.prefixes.bytes == 2 * 3 * 40 * 2 * 16 * 4, "keys and values of 3 layers, 2 heads of 16, fp32"
    assert sum(one.cost for one in batch) == sum(LENGTHS)


def test_requests_with_and_without_prefixes_share_a_batch(tmp_path: Path) -> None:
    engine = opened(tiny_gemma(tmp_path / "model"), answers=(5,))
    mixed = [*with_prefix(SharedPrefix(40), 1), *encodings(seed=5), *with_prefix(SharedPrefix(39), 2)]
    bare = [Encoding(one.ids, one.type_ids) for one in mixed]
    assert np.abs(rows(engine, mixed) - rows(engine, bare)).max() < 1e-4


def test_a_prefix_is_forgotten_with_its_request(tmp_path: Path) -> None:
    engine = opened(tiny_qwen3(tmp_path / "model"), answers=(5,))
    batch = with_prefix(SharedPrefix(40), 1)
    engine.run(batch)
    assert engine.prefixes.bytes > 0
    del batch
    assert engine.prefixes.bytes == 0


def states(tokens: int) -> States:
    return [(torch.zeros(tokens, 1, 8), torch.zeros(tokens, 1, 8))]


def test_prefixes_are_bounded_and_the_one_longest_unused_makes_room() -> None:
    kept = PrefixStates(max_bytes=1300)  # two of 10 tokens: 640 bytes each
    first, second, third = (SharedPrefix(10) for _ in range(3))
    for prefix in (first, second, first, third):
        kept.get(prefix, lambda: states(10))
    assert kept.bytes == 1280
    assert kept.computed_tokens == 30
    kept.get(first, lambda: states(10))
    assert kept.computed_tokens == 30, "it was used after the second"
    kept.get(second, lambda: states(10))
    assert kept.computed_tokens == 40
    kept.get(SharedPrefix(100), lambda: states(100))
    assert kept.bytes <= 1300, "what is too big is not kept"


class SmallMemory:
    """A network that a fake device of few tokens holds: the real thing needs a device that can be filled."""

    shares_prefixes = False

    def __init__(self, room: int, error: type[RuntimeError]) -> None:
        self.room, self.error, self.runs = room, error, list[int]()

    def states(self, ids: torch.Tensor) -> States:
        raise AssertionError("nothing is shared")

    def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        tokens = sum(piece.tokens for piece in pieces)
        self.runs.append(tokens)
        if tokens > self.room:
            raise self.error("CUDA out of memory" if self.error is not RuntimeError else "can't allocate memory")
        return [piece.ids.sum()[None].float() for piece in pieces]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_batch_that_does_not_fit_on_a_fake_device_is_halved_until_it_does(error: type[RuntimeError]) -> None:
    network = SmallMemory(70, error)
    engine = TorchEngine(network, torch.device("cpu"), PrefixStates(0), batch_tokens=512)
    batch = encodings()
    assert rows(engine, batch)[:, 0].tolist() == [float(one.ids.sum()) for one in batch]
    assert network.runs[0] == sum(LENGTHS)
    assert 64 <= engine.max_batch_tokens < 512, "the next batch is asked for smaller"


class Counting(SmallMemory):
    """Notes on how many threads it would compute; a fake, since what a pass takes is not to be seen from outside."""

    def __init__(self) -> None:
        super().__init__(1000, RuntimeError)
        self.threads: list[int] = []

    def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        self.threads.append(torch.get_num_threads())
        return super().run(pieces)


def test_a_pass_of_a_fake_network_takes_the_threads_it_was_given_and_gives_them_back() -> None:
    torch.set_num_threads(1)
    networks = Counting(), Counting()
    given, usual = (
        TorchEngine(network, torch.device("cpu"), PrefixStates(0), batch_tokens=512) for network in networks
    )  # fmt: skip
    assert given.spread(3)
    for engine in (given, usual, given):
        engine.run(encodings())
    assert (networks[0].threads, networks[1].threads) == ([3, 3], [1])
    assert torch.get_num_threads() == 1
    assert not TorchEngine(networks[0], torch.device("cuda"), PrefixStates(0), batch_tokens=64).spread(3)


def test_a_sequence_that_never_fits_on_a_fake_device_fails_alone_and_says_why() -> None:
    engine = TorchEngine(SmallMemory(20, torch.OutOfMemoryError), torch.device("cpu"), PrefixStates(0), batch_tokens=64)
    with pytest.raises(EngineFailure, match=r"60 tokens does not fit.*models\.max_tokens"):
        engine.run(encodings()[5:])
    assert len(engine.run(encodings()[:2])) == 2


def test_another_failure_of_torch_is_no_reason_to_try_again() -> None:
    engine = opened_on_nothing()
    with pytest.raises(EngineFailure, match="could not run 2 sequence"):
        engine.run(encodings()[:2])


def opened_on_nothing() -> TorchEngine:
    class Broken(SmallMemory):
        def run(self, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
            raise RuntimeError("shapes cannot be multiplied")

    return TorchEngine(Broken(0, RuntimeError), torch.device("cpu"), PrefixStates(0), batch_tokens=64)


def test_a_token_beyond_the_vocabulary_is_a_failure_of_the_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match="IndexError"):
        opened(tiny.tiny_bert(tmp_path / "model")).run([Encoding(np.array([10**6]), np.array([0]))])


def test_half_precision_is_planned_only_where_there_is_a_device() -> None:
    plan = ENGINE.plan({"model_type": "qwen3", "torch_dtype": "bfloat16"})
    assert plan == (Plan("bf16", True) if torch.cuda.is_available() else Plan("fp32", False))
    assert ENGINE.plan({"model_type": "rerankd_late_interaction"}) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "type 'yarn'"),
        ({"use_sliding_window": True}, "sliding windows"),
        ({"hidden_act": "tanhshrink"}, "tanhshrink"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers = 'many'"),
        ({"model_type": "mamba"}, "no encoder that the torch engine runs"),
    ],
)
def test_what_is_not_built_exactly_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UnsupportedModel, match=message):
        opened(folder, answers=(5,))


def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = tiny.tiny_bert(tmp_path / "model")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelLoadError, match="fetch it again") as failure:
        opened(folder)
    assert str(tmp_path) not in str(failure.value)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModel, match="safe_serialization"):
        opened(folder)
    other = tiny.tiny_bert(tmp_path / "wide", hidden_size=64)
    shutil.copy(other / "model.safetensors", folder)
    with pytest.raises(ModelLoadError, match="do not belong together"):
        opened(folder)


def test_an_onnx_file_and_an_unknown_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="only an ONNX file"):
        ENGINE.open(Graph(tmp_path / "model.onnx", "fp32"))
    with pytest.raises(UnsupportedModel, match="int8"):
        opened(tmp_path, "int8")
