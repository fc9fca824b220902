"""Cross-encoders that sentence-transformers (5.5 and later) saves as a chain of modules, such as ettin-reranker.

`modules.json` names an encoder, a pooling and what makes a score of the pooled vector; each has a folder with its
`config.json` and weights. Built after sentence_transformers/base/modules/dense.py and sentence_transformer/modules/
(pooling.py, layer_norm.py, dropout.py), base/modules/normalize.py, version 6.2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from rerankd.convert import fields
from rerankd.convert.base import POOLINGS, Head, Linear, Norm, Pooling, Unit
from rerankd.convert.weights import Tensor, Weights, open_part
from rerankd.errors import ModelLoadError, UnsupportedModel
from rerankd.families.base import Snapshot
from rerankd.types import JsonValue

MODULES_FILE = "modules.json"
_SETTINGS_FILE = "config_sentence_transformers.json"
_ACTIVATIONS: Mapping[str, str] = {
    "Identity": "",
    "Tanh": "tanh",
    "GELU": "gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}
_POOLED, _SCORES = "sentence_embedding", "scores"
_OLD_POOLINGS: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_NORM_EPSILON = 1e-5
"""torch.nn.LayerNorm's own, which the module leaves as it is."""


@dataclass(frozen=True, slots=True)
class Module:
    """One entry of `modules.json`: the class's last name and its folder, "" for the model's own."""

    kind: str
    folder: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A head made of modules, and all their tensors, each named `folder/name`."""

    head: Head
    weights: Weights


def read_modules(snapshot: Snapshot) -> tuple[Module, ...]:
    """The modules in order; () where there is no `modules.json`.

    Raises:
        ModelLoadError: the file is damaged, or names a folder outside the model's.
    """
    if MODULES_FILE not in snapshot.files:
        return ()
    entries = _read_json(snapshot, MODULES_FILE)
    if isinstance(entries, str) or not isinstance(entries, Sequence):
        raise ModelLoadError(f"{MODULES_FILE} does not hold a JSON list; fetch the model again")
    modules = tuple(
        Module(str(entry.get("type")).rpartition(".")[2], str(entry.get("path", "")))
        for entry in entries
        if isinstance(entry, Mapping)
    )
    if any(".." in module.folder.split("/") or module.folder.startswith("/") for module in modules):
        raise ModelLoadError(f"{MODULES_FILE} names folders outside the model's folder")
    return modules


def is_chain(snapshot: Snapshot) -> bool:
    """Tell whether the files are a cross-encoder of several modules (an embedding model has several too)."""
    if len(read_modules(snapshot)) < 2 or _SETTINGS_FILE not in snapshot.files:
        return False
    settings = _read_json(snapshot, _SETTINGS_FILE)
    return isinstance(settings, Mapping) and settings.get("model_type") == "CrossEncoder"


def read_chain(snapshot: Snapshot) -> Chain:
    """Read the modules after the encoder.

    Raises:
        UnsupportedModel: a module that cannot be built, or a chain that does not end in one score.
        ModelLoadError: a file is damaged.
    """
    modules = read_modules(snapshot)
    kinds = [module.kind for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise UnsupportedModel(
            f"{MODULES_FILE} chains {' and '.join(kinds)}: only a Transformer and a Pooling, then what makes a "
            "score of the pooled vector, can be served"
        )
    at, steps, tensors = _POOLED, list[Linear | Norm | Unit](), dict[str, Tensor]()
    for module in modules[2:]:
        at = _read_step(snapshot, module, at, steps)
        if module.kind in {"Dense", "LayerNorm"}:
            part = open_part(snapshot.folder, snapshot.files, module.folder)
            tensors |= {f"{module.folder}/{name}": tensor for name, tensor in part.items()}
    weights = Weights(tensors)
    last = steps[-1] if steps else None
    if at != _SCORES or not isinstance(last, Linear) or weights.shape(f"{last.name}.weight")[0] != 1:
        raise UnsupportedModel(
            f"{MODULES_FILE} ends in {kinds[-1]}, which gives no single score: a reranker's chain ends in a Dense of "
            f"one output named {_SCORES!r}"
        )
    return Chain(Head(steps, _read_pooling(snapshot, modules[1])), weights)


def _read_step(snapshot: Snapshot, module: Module, at: str, steps: list[Linear | Norm | Unit]) -> str:
    """Add what a module does to the value named `at`; return the name of what it gives."""
    if module.kind == "Dropout":
        return at
    config = _config(snapshot, module)
    takes = config.get("module_input_name", _POOLED)
    if takes != at:
        raise UnsupportedModel(f"the module {module.kind} in {module.folder!r} takes {takes!r} where {at!r} is given")
    gives = str(config.get("module_output_name") or takes)
    if module.kind == "LayerNorm":
        steps.append(Norm(f"{module.folder}/norm", _NORM_EPSILON))
    elif module.kind == "Normalize":
        steps.append(Unit())
    elif module.kind == "Dense":
        around = f"{module.folder}/residual" if config.get("use_residual") else ""
        steps.append(Linear(f"{module.folder}/linear", _activation(config), around))
    else:
        raise UnsupportedModel(
            f"{MODULES_FILE} has a module of the class {module.kind}: only Pooling, Dense, LayerNorm, Normalize and "
            "Dropout can be built"
        )
    return gives


def _activation(config: fields.Config) -> str:
    name = config.get("activation_function")
    if not isinstance(name, str) or not name.startswith("torch."):
        # Names outside torch are code the reference does not run unless told to; it takes the default then.
        return "tanh"
    found = _ACTIVATIONS.get(name.rpartition(".")[2])
    if found is None:
        raise UnsupportedModel(f"activation_function {name!r} cannot be converted: only {', '.join(_ACTIVATIONS)} can")
    return found


def _read_pooling(snapshot: Snapshot, module: Module) -> Pooling:
    config = _config(snapshot, module)
    said = config.get("pooling_mode")
    if said is None:
        said = [mode for name, mode in _OLD_POOLINGS.items() if config.get(name)] or "mean"
    modes = [said] if isinstance(said, str) else said
    mode = modes[0] if isinstance(modes, Sequence) and len(modes) == 1 else modes
    if mode not in POOLINGS:
        raise UnsupportedModel(f"pooling_mode {mode!r} cannot be converted: only {', '.join(POOLINGS)} can")
    return cast("Pooling", mode)


def _config(snapshot: Snapshot, module: Module) -> fields.Config:
    name = f"{module.folder}/config.json"
    if name not in snapshot.files:
        return {}
    config = _read_json(snapshot, name)
    if not isinstance(config, Mapping):
        raise ModelLoadError(f"{name} does not hold a JSON object; fetch the model again")
    return config


def _read_json(snapshot: Snapshot, name: str) -> JsonValue:
    try:
        return cast("JsonValue", json.loads((snapshot.folder / name).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{name} cannot be read: {type(error).__name__}; fetch the model again") from error
