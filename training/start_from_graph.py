"""Turn the pilot's 6-layer graph (int8, one sequence with a head) back into an encoder that torch can train.

Its int8 matrices are multiplied out; the word table, which the pilot kept frozen, comes from the base at full
precision. Needs `onnx`.
"""

import json
from pathlib import Path

import click
import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import load_file, save_file

WIDTH = 384


@click.command()
@click.option("--graph", type=click.Path(path_type=Path, exists=True), required=True, help="The pilot's int8 graph.")
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Base weights and tokenizer.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(graph: Path, base: Path, out: Path) -> None:
    """Write `config.json`, `model.safetensors` (fp32) and `tokenizer.json`."""
    values = {one.name: numpy_helper.to_array(one) for one in onnx.load(graph).graph.initializer}
    layers = sum(name.endswith(".qkv.bias") for name in values)
    tensors = {name: tensor.float() for name, tensor in load_file(base / "model.safetensors").items()}
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("embeddings.")}
    matrices = _matrices(values)
    for layer in range(layers):
        tensors |= _layer(values, matrices[4 * layer : 4 * layer + 4], layer)
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "model.safetensors")
    config = json.loads((base / "config.json").read_text("utf-8")) | {"num_hidden_layers": layers}
    (out / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}, indent=1) + "\n", "utf-8")
    (out / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())


def _matrices(values: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Every quantised matrix of the layers in the graph's order, multiplied out, as (outputs, inputs)."""
    stems = [name.removesuffix("_quantized") for name in values if name.endswith("_quantized") and "MatMul" in name]
    return [
        (values[f"{stem}_quantized"].astype(np.float32) * values[f"{stem}_scale"].astype(np.float32)).T
        for stem in sorted(stems, key=lambda stem: int(stem.rpartition("_")[2]))
        if values[f"{stem}_quantized"].shape[1] > 1
    ]


def _layer(values: dict[str, np.ndarray], matrices: list[np.ndarray], layer: int) -> dict[str, torch.Tensor]:
    at, of = f"encoder.layer.{layer}", f"layers.{layer}"
    found = {}
    for place, name in enumerate(("query", "key", "value")):
        rows = slice(place * WIDTH, (place + 1) * WIDTH)
        found[f"{at}.attention.self.{name}.weight"] = matrices[0][rows]
        found[f"{at}.attention.self.{name}.bias"] = values[f"{of}.qkv.bias"][rows]
    parts = ("attention.output.dense", "intermediate.dense", "output.dense")
    for matrix, ours, theirs in zip(matrices[1:], parts, ("o", "fi", "fo"), strict=True):
        found[f"{at}.{ours}.weight"] = matrix
        found[f"{at}.{ours}.bias"] = values[f"{of}.{theirs}.bias"]
    for ours, theirs in (("attention.output", "ln1"), ("output", "ln2")):
        for part in ("weight", "bias"):
            found[f"{at}.{ours}.LayerNorm.{part}"] = values[f"{of}.{theirs}.{part}"]
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in found.items()}


if __name__ == "__main__":
    main()
