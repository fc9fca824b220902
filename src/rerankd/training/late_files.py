"""A late-interaction model's folder to what torch trains, and back to a folder that rerankd serves."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer

from rerankd.convert import quantise
from rerankd.convert.convert import write_encoder
from rerankd.convert.formats import Precision
from rerankd.errors import ModelLoadError, UnsupportedModel
from rerankd.families.base import Snapshot
from rerankd.families.late_interaction import LateInteractionConfig
from rerankd.training.calibration import Calibration
from rerankd.training.encoder import Encoder, Shape
from rerankd.training.graph_weights import read_graph
from rerankd.training.late_interaction import LateInteraction
from rerankd.types import JsonValue

WEIGHTS = "encoder.safetensors"
"""The encoder in half precision, for further training; serving needs the graph alone."""

_BERT: Mapping[str, JsonValue] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "pad_token_id": 1,
}


def open_model(folder: Path) -> LateInteraction:
    """Open a served folder in fp32: from the weights beside the graph if they are there, else out of the graph.

    Raises:
        UnsupportedModel: it is no late-interaction model of BERT's shape.
        ModelLoadError: a file is missing or damaged.
    """
    try:
        config = cast("dict[str, Any]", json.loads((folder / "config.json").read_text("utf-8")))
        section = LateInteractionConfig.model_validate(config.get("late_interaction"))
        shape = Shape(**{field.name: config[field.name] for field in fields(Shape) if field.name in config})
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        encoder = Encoder(shape)
        encoder.load_state_dict(_weights(folder, str(config.get("graph", {}).get("file", "model.onnx"))))
    except (ValidationError, TypeError) as error:
        raise UnsupportedModel(f"config.json of {folder.name!r} is no late-interaction model's") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelLoadError(f"the model in {folder.name!r} cannot be opened: {type(error).__name__}") from error
    return LateInteraction(encoder, tokenizer, section)


def write_model(
    model: LateInteraction, start: Path, folder: Path, precision: Precision, calibration: Calibration
) -> None:
    """Write what rerankd serves, into an existing folder; `config.json` comes last, so that no folder is half a model.

    Everything that training did not change is taken from the folder it started from.
    """
    tensors = {name: one.detach().float().cpu() for name, one in model.encoder.state_dict().items()}
    written = _on_grid(tensors) if precision == "int8" else tensors
    config = cast("dict[str, Any]", json.loads((start / "config.json").read_text("utf-8")))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        temporary = Path(place)
        save_file({name: one.contiguous() for name, one in written.items()}, temporary / "model.safetensors")
        shape: dict[str, JsonValue] = {**asdict(model.encoder.shape)}
        files = frozenset({"model.safetensors"})
        graph = write_encoder(Snapshot(temporary, {**_BERT, **shape}, files), temporary, precision)
        halves = {name: one.half().contiguous() for name, one in tensors.items()}
        save_file(halves, temporary / WEIGHTS)
        (temporary / "tokenizer.json").write_bytes((start / "tokenizer.json").read_bytes())
        for name in ("model.onnx.data", "model.onnx", WEIGHTS, "tokenizer.json"):
            (temporary / name).replace(folder / name)
        config["graph"] = {"file": "model.onnx", "precision": graph.precision}
        config["late_interaction"]["calibration"] = {"slope": calibration.slope, "bias": calibration.bias}
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (temporary / "config.json").write_text(text, "utf-8")
        (temporary / "config.json").replace(folder / "config.json")


def _on_grid(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Round the layers' matrices to eight bits at random, up as often as the remainder says: right on average.

    What starts out of eight bits lies on the grid already, and most of what training adds is less than half a step: the
    nearest value would be the old one, and the training lost.
    """
    rng = np.random.default_rng(0)
    found = dict(tensors)
    for name, one in tensors.items():
        if one.ndim == 2 and name.startswith("encoder."):
            matrix = one.numpy().T
            scales = quantise.matrix(matrix).scales
            steps = np.floor(matrix / scales + rng.random(matrix.shape, np.float32))
            found[name] = torch.from_numpy(np.ascontiguousarray((steps * scales).T))
    return found


def _weights(folder: Path, graph: str) -> dict[str, torch.Tensor]:
    if (folder / WEIGHTS).is_file():
        return {name: one.float() for name, one in load_file(folder / WEIGHTS).items()}
    return {name: torch.tensor(one) for name, one in read_graph(folder / graph).items()}
