"""A late-interaction model's folder to what torch trains, and back to a folder that rerankd serves."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]
from tokenizers import Tokenizer

from rerankd.convert.convert import write_encoder
from rerankd.convert.eight_bits import EightBits
from rerankd.convert.formats import Format, Precision
from rerankd.convert.quantise import SAFE_LIMIT
from rerankd.engines.base import Graph
from rerankd.errors import ModelLoadError, UnsupportedModel
from rerankd.families.base import Snapshot
from rerankd.families.late_interaction import FAMILY, LateInteractionConfig
from rerankd.models import precision as eight_bits
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
    config = cast("dict[str, Any]", json.loads((start / "config.json").read_text("utf-8")))
    with tempfile.TemporaryDirectory(dir=folder) as place:
        temporary = Path(place)
        save_file({name: one.contiguous() for name, one in tensors.items()}, temporary / "model.safetensors")
        (temporary / "tokenizer.json").write_bytes((start / "tokenizer.json").read_bytes())
        shape: dict[str, JsonValue] = {**asdict(model.encoder.shape)}
        weights = Snapshot(temporary, {**_BERT, **shape}, frozenset({"model.safetensors"}))
        number_format = _eight_bits(weights, config) if precision == "int8" else None
        graph = write_encoder(weights, temporary, number_format)
        halves = {name: one.half().contiguous() for name, one in tensors.items()}
        save_file(halves, temporary / WEIGHTS)
        for name in ("model.onnx.data", "model.onnx", WEIGHTS, "tokenizer.json"):
            (temporary / name).replace(folder / name)
        config["graph"] = {"file": "model.onnx", "precision": graph.precision}
        config["late_interaction"]["calibration"] = {"slope": calibration.slope, "bias": calibration.bias}
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (temporary / "config.json").write_text(text, "utf-8")
        (temporary / "config.json").replace(folder / "config.json")


def _eight_bits(weights: Snapshot, config: Mapping[str, JsonValue]) -> EightBits:
    """Fit to the built-in texts as `rerankd convert` does; seven bits, for the folder may be served elsewhere."""
    reader = FAMILY.open(Snapshot(weights.folder, config, frozenset()), max_tokens=None, cache_bytes=0)

    def write(folder: Path, number_format: Format) -> Graph:
        return write_encoder(weights, folder, number_format)

    with tempfile.TemporaryDirectory(dir=weights.folder) as place:
        _, seen = eight_bits.observe(Path(place), write, reader)
    return EightBits(seen, SAFE_LIMIT, dither=True)


def _weights(folder: Path, graph: str) -> dict[str, torch.Tensor]:
    if (folder / WEIGHTS).is_file():
        return {name: one.float() for name, one in load_file(folder / WEIGHTS).items()}
    return {name: torch.tensor(one) for name, one in read_graph(folder / graph).items()}
