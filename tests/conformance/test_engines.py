"""What every engine promises; run over every engine there is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import tiny
from rerankd import plugins
from rerankd.convert.convert import convert, write_encoder
from rerankd.engines.base import Encoding, Engine, EngineFactory, Graph
from rerankd.engines.fake import STATES, WIDTH
from rerankd.errors import RerankError

BATCH = [
    Encoding(np.arange(2, 2 + length, dtype=np.int64), np.arange(length, dtype=np.int64) % 2)
    for length in (7, 3, 30, 1, 12, 64, 5)
]

Open = Callable[[str], Engine]


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    tiny.tiny_bert(folder / "model")
    for kind, name in (("classifier", "BertForSequenceClassification"), ("encoder", "BertModel")):
        tiny.tiny_bert(folder / f"{kind}-weights", architectures=[name])
    for name, write in (("classifier", convert), ("encoder", write_encoder)):
        (folder / name).mkdir()
        write(tiny.snapshot(folder / "model"), folder / name)
    return folder


@pytest.fixture(params=plugins.names("engines"))
def opened(request: pytest.FixtureRequest, graphs: Path) -> Open:
    """Opens the engine under test on a "classifier" or an "encoder"."""
    name = cast("str", request.param)
    factory = cast("EngineFactory", plugins.load("engines", name))
    if factory.missing():
        pytest.skip(factory.missing())

    def open_engine(kind: str) -> Engine:
        precision = STATES if name == "fake" and kind == "encoder" else "fp32"
        config = tiny.snapshot(graphs / f"{kind}-weights").config
        if plan := factory.plan(config):
            return factory.open(Graph(graphs / f"{kind}-weights", plan.precision, "weights"))
        return factory.open(Graph(graphs / kind / "model.onnx", precision))

    return open_engine


def test_a_classifier_gives_one_array_of_labels_per_encoding(opened: Open) -> None:
    outputs = opened("classifier").run(BATCH)
    assert [output.shape for output in outputs] == [(1,)] * len(BATCH)
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


def test_an_encoder_gives_the_states_of_each_token(opened: Open) -> None:
    outputs = opened("encoder").run(BATCH)
    assert [output.shape[0] for output in outputs] == [encoding.tokens for encoding in BATCH]
    assert {output.shape[1] for output in outputs} <= {32, WIDTH}
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}


def test_the_order_is_kept_and_neighbours_do_not_matter(opened: Open) -> None:
    engine = opened("classifier")
    together = engine.run(BATCH)
    alone = [engine.run([encoding])[0] for encoding in BATCH]
    backwards = engine.run(BATCH[::-1])[::-1]
    assert np.allclose(together, alone, atol=2e-6)
    assert np.allclose(together, backwards, atol=2e-6)
    assert len({float(output[0]) for output in together}) == len(BATCH)


def test_segment_ids_reach_the_network(opened: Open) -> None:
    engine = opened("classifier")
    zeroed = [Encoding(encoding.ids, np.zeros_like(encoding.ids)) for encoding in BATCH]
    pairs = zip(engine.run(BATCH), engine.run(zeroed), BATCH, strict=True)
    assert all(abs(float(a[0] - b[0])) > 1e-4 for a, b, encoding in pairs if encoding.type_ids.any())


def test_an_empty_batch_is_an_empty_answer(opened: Open) -> None:
    assert list(opened("classifier").run([])) == []


def test_several_threads_get_their_own_answers(opened: Open) -> None:
    engine = opened("classifier")
    truth = [engine.run([encoding])[0] for encoding in BATCH]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(engine.run, [[encoding] for encoding in BATCH] * 20))
    assert all(np.allclose(answer[0], truth[index % len(BATCH)], atol=2e-6) for index, answer in enumerate(answers))


def test_a_batch_costs_a_known_number_of_tokens(opened: Open) -> None:
    assert opened("classifier").max_batch_tokens >= 0


def test_a_closed_engine_says_so(opened: Open) -> None:
    engine = opened("classifier")
    engine.close()
    with pytest.raises(RerankError, match="closed"):
        engine.run(BATCH)


def test_the_package_does_not_import_an_engine() -> None:
    import subprocess
    import sys

    code = "import sys, rerankd, rerankd.plugins as p; p.names('engines'); print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
