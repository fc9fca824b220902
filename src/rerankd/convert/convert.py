"""A model's files to a graph on disk: which files make one, and the writing of it.

Locking, the temporary folder and its renaming are the store's; here an existing empty folder is filled.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from rerankd.convert import heads, modular, weights
from rerankd.convert.architecture import KINDS, read_architecture
from rerankd.convert.base import Architecture
from rerankd.convert.formats import Format, FullPrecision
from rerankd.convert.graph import ElementType, GraphBuilder
from rerankd.convert.layers import LayerWriter
from rerankd.engines.base import Graph
from rerankd.families.base import Snapshot

GRAPH_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
WATCHED_FILE = "watched.onnx"
"""The same network and the same weights, with the states that linear layers are given among its outputs."""
_READY_MADE = ("model.onnx", "onnx/model.onnx")


def can_convert(snapshot: Snapshot) -> bool:
    """Tell from `config.json` and the file names whether `convert` has a chance."""
    return snapshot.config.get("model_type") in KINDS and weights.available(snapshot.files)


def existing_graph(snapshot: Snapshot) -> Graph | None:
    """Find a ready-made graph among the model's files; quantised variants are never taken silently.

    Files made elsewhere under these names are fp32; our own models say in `config.json` what theirs computes in.
    """
    told = snapshot.config.get("graph")
    precision = str(told.get("precision", "fp32")) if isinstance(told, Mapping) else "fp32"
    for name in _READY_MADE:
        if name in snapshot.files:
            return Graph(snapshot.folder / name, precision)
    return None


def convert(snapshot: Snapshot, folder: Path, number_format: Format | None = None) -> Graph:
    """Write a sequence classifier: `input_ids` (and `token_type_ids`) of shape `(batch, tokens)` to
    `logits` of shape `(batch, labels)`, in fp32 if nothing else is asked for.

    Raises:
        UnsupportedModel: the configuration or the weights are not those of a classifier that can be built exactly.
        ModelLoadError: the weights are damaged or do not fit the configuration.
    """
    chain = modular.read_chain(snapshot) if modular.is_chain(snapshot) else None

    def write(layers: LayerWriter, architecture: Architecture) -> None:
        if chain is not None:
            heads.write_classifier(layers, architecture, chain.head, chain.weights)
            return
        head = architecture.head(layers.weights, layers.prefix)
        heads.write_classifier(layers, architecture, head, layers.weights)

    return _write(snapshot, folder, number_format or FullPrecision(), write)


def write_encoder(snapshot: Snapshot, folder: Path, number_format: Format | None = None) -> Graph:
    """Write an encoder without a head: ids to `states`, the last hidden states, of shape `(batch, tokens, width)`.

    Raises:
        UnsupportedModel, ModelLoadError: as `convert`.
    """

    def write(layers: LayerWriter, architecture: Architecture) -> None:
        states = architecture.write(layers, first_token_only=False)
        layers.builder.node("Identity", [states], output="states")
        layers.builder.output("states", ElementType.FLOAT, ("batch", "tokens", architecture.width))

    return _write(snapshot, folder, number_format or FullPrecision(), write)


def _write(
    snapshot: Snapshot, folder: Path, number_format: Format, write: Callable[[LayerWriter, Architecture], None]
) -> Graph:
    architecture = read_architecture(snapshot.config)
    tensors = weights.open_weights(snapshot.folder, snapshot.files)
    prefix = architecture.prefix(tensors)
    with (folder / DATA_FILE).open("wb") as data:
        builder = GraphBuilder(data, DATA_FILE)
        write(LayerWriter(builder, tensors, prefix, number_format), architecture)
    builder.write(folder / GRAPH_FILE)
    if isinstance(number_format, FullPrecision) and number_format.watched:
        for name in sorted(set(number_format.inputs.values())):
            builder.output(name, ElementType.FLOAT, None)
        builder.write(folder / WATCHED_FILE)
    return Graph(folder / GRAPH_FILE, number_format.precision)
