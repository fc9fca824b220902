"""int8 of every kind of encoder: made, run, and near to fp32."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Pooling

import jina_reference
import made_models
from rerankd.convert.convert import convert
from rerankd.engines.onnx import ENGINE
from rerankd.models.loader import recognise, take_snapshot
from rerankd.models.precision import make_eight_bits


def _chain(folder: Path) -> Path:
    score = Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores")
    return made_models.chain(folder / "chain", made_models.modernbert(folder / "body0"), [Pooling(32, "mean"), score])


KINDS: dict[str, Callable[[Path], Path]] = {
    "xlm-roberta": made_models.xlm_roberta,
    "distilbert": made_models.distilbert,
    "electra": made_models.electra,
    "gte": made_models.gte,
    "jina v1": lambda folder: jina_reference.write(folder, normalised=False),
    "jina, query and key normalised": lambda folder: jina_reference.write(folder, normalised=True),
    "jina v2": lambda folder: made_models.as_jina_v2(folder / "jina", made_models.xlm_roberta(folder / "original")),
    "modernbert": made_models.modernbert,
    "chain of modules": _chain,
    "deberta": made_models.deberta,
    "deberta, convolution, narrow embeddings": lambda folder: made_models.deberta(
        folder, conv_kernel_size=3, embedding_size=16, share_att_key=False
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_int8_of_every_kind_of_encoder_is_near_to_fp32(kind: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    source = take_snapshot(KINDS[kind](tmp_path / "model"))
    reader = recognise(source)[1].open(source, max_tokens=None, cache_bytes=0)
    folder = tmp_path / "graph"
    folder.mkdir()
    note = make_eight_bits(folder, lambda to, numbers: convert(source, to, numbers), reader, ENGINE, lambda *_: None)
    assert note.eight_bits is not None
    found = note.eight_bits.agreement
    assert found.error < 0.2
    assert found.spearman > 0.95
    names = [tensor.name for tensor in onnx.load(str(folder / note.file), load_external_data=False).graph.initializer]
    in_eight_bits = [name for name in names if name.endswith(".weight_int8")]
    # Four products a layer. The last one's are mostly for the first token, which stay; so may a fifth of the others.
    assert len(in_eight_bits) >= 4
