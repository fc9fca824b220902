"""From a folder to a ready model."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from rerankd.engines.base import Encoding
from rerankd.errors import ConfigError, ModelLoadError, UnsupportedModel
from rerankd.models.loader import Loader
from rerankd.registry.options import Options
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.scheduler.batching import UNBOUNDED, Bound
from rerankd.types import ModelState, Progress
from tiny import tiny_bert, tiny_xlmr
from tiny_causal import tiny_qwen3


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    return Loader(Store(tmp_path / "store"))


def entry(folder: Path) -> Entry:
    return resolve(str(folder))


def score(loader: Loader, folder: Path) -> float:
    model = loader.load(entry(folder), lambda _: None)
    work = model.reader.read("what is it", ["it is a test"])
    return float(work.score(model.engine.run(work.encodings))[0])


def test_a_model_passes_through_its_states_and_tells_what_it_is(loader: Loader, bert: Path) -> None:
    states: list[ModelState | Progress] = []
    model = loader.load(entry(bert), states.append)
    loading = [ModelState.RESOLVING, ModelState.LOADING, ModelState.WARMING]
    converted = [*loading[:2], ModelState.CONVERTING, *loading[1:]]
    assert [state for state, _ in groupby(states)] == converted, "it is a folder: nothing is downloaded"
    states.clear()
    loader.load(entry(bert), states.append)
    assert [state for state, _ in groupby(states)] == loading, "the graph is there: nothing is converted"
    assert (model.info.id, model.info.family, model.info.engine) == ("tiny-bert", "cross_encoder", "onnx")
    assert model.info.max_tokens == model.reader.max_tokens


def test_a_folder_is_not_changed_and_is_converted_once(loader: Loader, bert: Path) -> None:
    before = sorted(file.name for file in bert.iterdir())
    first = score(loader, bert)
    prepared = [folder for folder in (loader.store.root / "prepared").iterdir() if folder.is_dir()]
    stamp = (prepared[0] / "graph.json").stat().st_mtime_ns
    assert score(loader, bert) == first
    assert len(prepared) == 1
    assert (prepared[0] / "graph.json").stat().st_mtime_ns == stamp
    assert sorted(file.name for file in bert.iterdir()) == before


def test_a_fingerprint_names_all_that_can_change_a_score(tmp_path: Path, bert: Path) -> None:
    def fingerprint(folder: Path, max_tokens: int | None = None) -> str:
        loader = Loader(Store(tmp_path / "store"), max_tokens=max_tokens)
        return loader.load(entry(folder), lambda _: None).info.fingerprint

    first = fingerprint(bert)
    copy = shutil.copytree(bert, tmp_path / "copy")
    assert fingerprint(copy) == first, "the same files in another place are the same model"
    assert fingerprint(bert, max_tokens=16) != first
    other = tiny_bert(tmp_path / "other", seed=7)
    assert fingerprint(other) != first
    config = json.loads((copy / "config.json").read_text())
    config["sbert_ce_default_activation_function"] = "torch.nn.modules.linear.Identity"
    (copy / "config.json").write_text(json.dumps(config))
    assert fingerprint(copy) != first


def test_a_ready_made_onnx_file_is_served_as_it_lies(loader: Loader, tmp_path: Path, bert: Path) -> None:
    expected = score(loader, bert)
    exported = shutil.copytree(bert, tmp_path / "exported", ignore=shutil.ignore_patterns("*.safetensors"))
    prepared = next(folder for folder in (loader.store.root / "prepared").iterdir() if folder.is_dir())
    (exported / "onnx").mkdir()
    for file in prepared.glob("model.onnx*"):
        shutil.copy(file, exported / "onnx")
    assert score(loader, exported) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("make", [tiny_bert, tiny_xlmr])
def test_damaged_weights_are_refused_not_served(make: Callable[[Path], Path], loader: Loader, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ModelLoadError) as failure:
        loader.load(entry(folder), lambda _: None)
    assert str(tmp_path) not in str(failure.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}, "no reranker that is known here"),
        ({"architectures": ["BertModel"], "model_type": "bert"}, "BertModel|no reranker"),
        ({}, "no reranker that is known here"),
    ],
)
def test_what_is_no_reranker_is_refused_by_what_it_is(
    config: dict[str, object], message: str, loader: Loader, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match=message):
        loader.load(entry(tmp_path), lambda _: None)


def test_a_broken_config_is_said_in_a_sentence(loader: Loader, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"no config\.json"):
        loader.load(entry(tmp_path), lambda _: None)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(UnsupportedModel, match="cannot be read"):
        loader.load(entry(tmp_path), lambda _: None)


def test_pickled_weights_are_never_read(loader: Loader, tmp_path: Path, bert: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n")
    with pytest.raises(UnsupportedModel, match="safe_serialization"):
        loader.load(entry(folder), lambda _: None)


def test_an_unknown_engine_is_a_config_error_that_lists_the_known(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onnx"):
        Loader(Store(tmp_path), engine="tensor").load(entry(bert), lambda _: None)


def test_the_engine_runs_what_the_reader_reads(loader: Loader, bert: Path) -> None:
    model = loader.load(entry(bert), lambda _: None)
    output = model.engine.run([Encoding(np.array([1, 2, 3]), np.zeros(3, np.int64))])
    assert output[0].shape == (1,)


def test_a_language_model_is_run_by_torch_from_its_weights_and_nothing_is_converted(
    loader: Loader, tmp_path: Path
) -> None:
    folder = tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")
    model = loader.load(entry(folder), lambda _: None)
    assert (model.info.family, model.info.engine, model.info.precision) == ("qwen3", "torch", "fp32")
    assert not (loader.store.root / "prepared").exists()


def test_a_chat_model_is_told_from_a_reranker_by_what_it_is_called(loader: Loader, tmp_path: Path) -> None:
    chat = tiny_qwen3(tmp_path / "Qwen3-0.6B")
    with pytest.raises(UnsupportedModel, match=r"Qwen3ForCausalLM.*README\.md"):
        loader.load(entry(chat), lambda _: None)
    (chat / "README.md").write_text("---\nbase_model: Qwen/Qwen3-Reranker-0.6B\n---\n# Ours\n")
    assert loader.load(entry(chat), lambda _: None).info.family == "qwen3"
    (chat / "README.md").write_text("# Qwen3\nSee also Qwen3-Reranker-0.6B\n")
    with pytest.raises(UnsupportedModel):
        loader.load(entry(chat), lambda _: None)


def test_an_embedding_model_of_the_same_kind_is_refused(loader: Loader, tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "qwen3-reranker-like")
    modules = [{"idx": 0, "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UnsupportedModel):
        loader.load(entry(folder), lambda _: None)


def test_a_limit_below_the_template_is_refused_with_the_number(tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")
    with pytest.raises(UnsupportedModel, match=r"max_tokens = 32 leaves no room.*template alone takes \d+"):
        Loader(Store(tmp_path / "store"), max_tokens=32).load(entry(folder), lambda _: None)


def test_either_engine_serves_an_encoder_with_the_same_score(tmp_path: Path, bert: Path) -> None:
    torch = Loader(Store(tmp_path), engine="torch")
    assert torch.load(entry(bert), lambda _: None).info.engine == "torch"
    assert score(torch, bert) == pytest.approx(score(Loader(Store(tmp_path), engine="onnx"), bert), abs=1e-5)


def test_an_engine_that_does_not_run_the_model_says_which_does(tmp_path: Path) -> None:
    folder = tiny_qwen3(tmp_path / "Qwen3-Reranker-0.6B")
    with pytest.raises(UnsupportedModel, match=r"set models\.engine to torch"):
        Loader(Store(tmp_path / "store"), engine="onnx").load(entry(folder), lambda _: None)
    with pytest.raises(UnsupportedModel, match=r"set models\.engine to onnx"):
        Loader(Store(tmp_path / "store"), engine="torch").load(resolve("rerankd-zh-en"), lambda _: None)


def test_a_model_bound_to_threads_runs_on_so_many_workers_or_once_on_so_many_cores(tmp_path: Path, bert: Path) -> None:
    bounded = replace(entry(bert), options=Options(threads=2))
    engines = {name: Loader(Store(tmp_path), engine=name) for name in ("onnx", "torch")}
    found = {name: loader.load(bounded, lambda _: None).bound for name, loader in engines.items()}
    assert found == {"onnx": Bound(2), "torch": Bound(1, cores=2)}
    assert engines["onnx"].load(entry(bert), lambda _: None).bound == UNBOUNDED
