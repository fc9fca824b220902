"""Models published with code of their own whose network transformers has under other names: translated for it.

Nothing is computed here: the same tensors are written under the names of transformers' own class, into a folder that
lasts as long as the reference takes to read it, so that the reference is that class and no code of the model's runs.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from rerankd.families.base import Snapshot
from rerankd.types import JsonValue

_FLASH_NAMES = (
    ("emb_ln.", "embeddings.LayerNorm."),
    ("encoder.layers.", "encoder.layer."),
    ("mixer.out_proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
    ("norm1.", "attention.output.LayerNorm."),
    ("norm2.", "output.LayerNorm."),
)
"""jinaai/xlm-roberta-flash-implementation (convert_roberta_weights_to_flash.py), read backwards."""
_JOINED = ".mixer.Wqkv."


@dataclass(frozen=True, slots=True)
class Readable:
    """A folder that the reference can read. `adjust` sets what its configuration cannot say, on the loaded network."""

    folder: Path
    how: str = ""
    adjust: Callable[[Any], object] = id


@contextmanager
def readable(snapshot: Snapshot) -> Generator[Readable]:
    """Yield the model's own folder, or a translated one that is removed at the end."""
    kind = _kind(snapshot)
    if kind is None:
        yield Readable(snapshot.folder)
        return
    with tempfile.TemporaryDirectory(prefix="rerankd-verify-", ignore_cleanup_errors=True) as temporary:
        yield kind(snapshot, Path(temporary))


def _kind(snapshot: Snapshot) -> Callable[[Snapshot, Path], Readable] | None:
    if snapshot.config.get("model_type") == "new":
        return _gte
    flash = snapshot.config.get("model_type") == "xlm-roberta" and any(_JOINED in name for name in _names(snapshot))
    return _jina_v2 if flash else None


def _jina_v2(snapshot: Snapshot, at: Path) -> Readable:
    torch: Any = import_module("torch")

    def translate(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
        if _JOINED in name:
            layer, what = name.replace("encoder.layers.", "encoder.layer.").split(_JOINED)
            for part, rows in zip(("query", "key", "value"), torch.chunk(tensor, 3), strict=True):
                yield f"{layer}.attention.self.{part}.{what}", rows.contiguous()
            return
        for theirs, ours in _FLASH_NAMES:
            name = name.replace(theirs, ours)
        yield name, tensor

    _write(snapshot, at, translate, {"auto_map": None, "architectures": ["XLMRobertaForSequenceClassification"]})
    return Readable(at, "tensors of its flash implementation under the names of XLMRobertaForSequenceClassification")


def _gte(snapshot: Snapshot, at: Path) -> Readable:
    config = snapshot.config
    base = float(cast("float", config.get("rope_theta", 10_000.0)))
    scaling = config.get("rope_scaling")
    factor = float(cast("float", scaling.get("factor", 1.0))) if isinstance(scaling, Mapping) else 1.0
    entries: dict[str, JsonValue] = {
        "model_type": "gte",
        "architectures": ["GteForSequenceClassification"],
        "auto_map": None,
        "rope_theta": None,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": base * max(1.0, factor)},
    }

    def adjust(network: Any) -> None:
        # NTK as the repository has it (Alibaba-NLP/new-impl, modeling.py, NTKScalingRotaryEmbedding) and transformers
        # has not: the base grows, and every frequency falls a little.
        if factor > 1:
            frequencies = network.gte.rotary_emb.inv_freq
            frequencies.div_(factor ** (1 / len(frequencies)))

    def translate(name: str, tensor: Any) -> Iterator[tuple[str, Any]]:
        yield f"gte.{name.removeprefix('new.')}" if name.startswith("new.") else name, tensor

    _write(snapshot, at, translate, entries)
    return Readable(at, "its tensors under the names of GteForSequenceClassification", adjust)


def _write(
    snapshot: Snapshot,
    at: Path,
    translate: Callable[[str, Any], Iterator[tuple[str, Any]]],
    entries: Mapping[str, JsonValue],
) -> None:
    """Write configuration and tensors anew, the other small files as they are; an entry of None is left out."""
    load, save = (getattr(import_module("safetensors.torch"), name) for name in ("load_file", "save_file"))
    for name in snapshot.files:
        if "/" not in name and name.endswith((".json", ".txt", ".model")) and "safetensors" not in name:
            shutil.copyfile(snapshot.folder / name, at / name)
    config = {name: value for name, value in {**snapshot.config, **entries}.items() if value is not None}
    (at / "config.json").write_text(json.dumps(config), "utf-8")
    tensors: dict[str, Any] = {}
    for file in sorted(snapshot.folder.glob("*.safetensors")):
        for name, tensor in load(file).items():
            tensors.update(translate(name, tensor))
    save(tensors, at / "model.safetensors", metadata={"format": "pt"})


def _names(snapshot: Snapshot) -> Iterator[str]:
    safe_open: Any = import_module("safetensors").safe_open
    for file in sorted(snapshot.folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as opened:
            yield from opened.keys()
