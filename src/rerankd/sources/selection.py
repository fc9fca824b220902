"""Which of a repository's files a model needs: one format of weights, never pickles, never code."""

import re
from collections.abc import Iterable

from rerankd.errors import UnsupportedModel

_MODULE = re.compile(r"\d+_\w+")
"""A sentence-transformers module's folder: 1_Pooling, 2_Dense."""
_TEXTS = (".json", ".txt", ".model", ".jinja")
"""Configurations, vocabularies, sentencepiece models, chat templates: data, read by name."""
_CARDS = re.compile(r"readme\.md|licen[cs]e(\.md|\.txt)?|notice(\.md|\.txt)?", re.IGNORECASE)
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_INDEX = "model.safetensors.index.json"
_ONNX = ("onnx/model.onnx", "model.onnx")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def wanted(names: Iterable[str], repository: str) -> tuple[str, ...]:
    """Choose the files to fetch, sorted. Paths that lead out of the folder are never among them.

    Raises:
        UnsupportedModel: there is no configuration, or no weights in a format that is read here.
    """
    safe = {name for name in names if is_safe(name)}
    if "config.json" not in safe:
        raise UnsupportedModel(f"{repository!r} has no config.json: it is no model that can be served here")
    weights = _weights(safe)
    if not weights:
        raise UnsupportedModel(_without_weights(safe, repository))
    texts = {name for name in safe if _is_text(name)}
    return tuple(sorted(weights | texts))


def is_safe(name: str) -> bool:
    """Tell whether a name, as a hub or a bundle gives it, stays inside the folder it is put in, on every system."""
    parts = name.split("/")
    return (
        all(part not in {"", ".", ".."} and part == part.rstrip(". ") for part in parts)
        and not any(letter in name for letter in '\\:*?"<>|')
        and name.isprintable()
    )


def _weights(names: set[str]) -> set[str]:
    modules = {name for name in names if name.endswith(".safetensors") and _is_in_module(name)}
    if "model.safetensors" in names:
        return {"model.safetensors"} | modules
    if _INDEX in names:
        return {name for name in names if _SHARD.fullmatch(name)} | modules
    for graph in _ONNX:
        if graph in names:
            # Weights over 2 GB lie beside the graph: model.onnx_data, model.onnx.data.
            return {name for name in names if name == graph or name.startswith((f"{graph}_data", f"{graph}.data"))}
    return set()


def _is_text(name: str) -> bool:
    if _CARDS.fullmatch(name):
        return True
    return name.endswith(_TEXTS) and ("/" not in name or _is_in_module(name))


def _is_in_module(name: str) -> bool:
    folder, slash, rest = name.partition("/")
    return bool(slash) and "/" not in rest and _MODULE.fullmatch(folder) is not None


def _without_weights(names: set[str], repository: str) -> str:
    if any(name.endswith(_PICKLES) for name in names):
        return (
            f"{repository!r} has its weights as pickles only, which can run code and are never read here: take a "
            "repository or revision with model.safetensors, or save the model with safe_serialization=True"
        )
    return f"{repository!r} has neither model.safetensors nor an ONNX file: no weights that are read here"
