"""From an entry to a ready model: files, family, graph, engine, warm-up. Blocking; called from a thread."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from rerankd import __version__, plugins
from rerankd.convert.convert import can_convert, convert, existing_graph
from rerankd.engines.base import Engine, Graph
from rerankd.errors import ScoresDisagree, UnsupportedModel
from rerankd.families.base import CausalReader, Family, Reader, Snapshot
from rerankd.models.engine_choice import choose_engine
from rerankd.models.golden import check_golden
from rerankd.models.loaded import LoadedModel, score_type
from rerankd.models.unknown import describe
from rerankd.registry import certificates
from rerankd.registry.obtain import obtain
from rerankd.registry.resolve import Entry
from rerankd.registry.revisions import snapshot_id
from rerankd.registry.store import Store
from rerankd.sources.base import Access
from rerankd.types import JsonValue, ModelInfo, ModelState, Progress

Report = Callable[[ModelState | Progress], None]
"""Hears each state, and while files are fetched how far that is. What it raises ends the loading."""

_GRAPH_FILE = "graph.json"
_WARM_UP = (("a", ("b",)), ("什么是重排序?", ("Reranking puts the best documents first. " * 4,)))
"""A shortest and a usual input: the first run sets the engine up, and no caller should wait for that.

No longest one: nothing is kept by length, and the first pair of 465 tokens took as long as the next (0.17 s on
MiniLM-L6, one thread), while having it here delayed every start by 0.12 s, by 1.4 s with bge-base.
"""


@dataclass(frozen=True, slots=True)
class Loader:
    """How models are made ready here. `max_tokens` lowers every model's own limit.

    `access` says how sources reach out (by default: to nobody), `prefer` which of them is asked first. `check_golden`
    compares the known scores of a model's card before it serves.
    """

    store: Store
    access: Access | None = None
    prefer: str = ""
    engine: str = "auto"
    max_tokens: int | None = None
    document_cache_bytes: int = 0
    check_golden: bool = True

    def load(self, entry: Entry, report: Report) -> LoadedModel:
        """Make a model ready; `report` hears each state on the way.

        Raises:
            ModelLoadError: it cannot be; the message says why.
            ConfigError: there is no engine to run it.
        """
        return self.load_from(entry, self.fetch(entry, report), report)

    def fetch(self, entry: Entry, report: Report) -> Path:
        """Return the folder of a model's files, fetched if they are not here. Raises as `load`."""
        report(ModelState.RESOLVING)
        report(ModelState.DOWNLOADING)
        return obtain(entry, self.reach, report, prefer=self.prefer)

    @property
    def reach(self) -> Access:
        """How sources reach out."""
        return self.access or Access(self.store.root, offline=True)

    def load_from(self, entry: Entry, folder: Path, report: Report) -> LoadedModel:
        """Make a model ready from these files of it. Raises as `load`."""
        snapshot = take_snapshot(folder)
        family_name, family = recognise(snapshot, entry.card.family if entry.card else "")
        most = entry.options.max_tokens or self.max_tokens
        reader = family.open(snapshot, max_tokens=most, cache_bytes=self.document_cache_bytes)
        answers = reader.answers if isinstance(reader, CausalReader) else None
        engine_name, factory, plan = choose_engine(self.engine, snapshot.config, causal=answers is not None)
        report(ModelState.CONVERTING)
        graph = Graph(snapshot.folder, plan.precision, "weights", answers or ()) if plan else self._graph(snapshot)
        report(ModelState.LOADING)
        engine = factory.open(graph)
        report(ModelState.WARMING)
        _warm_up(reader, engine)
        if entry.card and self.check_golden:
            check_golden(entry.card, reader, engine)
        fingerprint = self._fingerprint(snapshot, graph, family_name, engine_name, reader.max_tokens)
        info = ModelInfo(
            id=entry.id,
            names=entry.names,
            state=ModelState.READY,
            family=family_name,
            engine=engine_name,
            precision=graph.precision,
            score_type=score_type(reader.score_type, entry.options.activation),
            max_tokens=reader.max_tokens,
            fingerprint=fingerprint,
            revision=snapshot_id(folder),
            verified=certificates.find(self.store.root, fingerprint, engine_name),
        )
        return LoadedModel(info, reader, engine, snapshot.folder, _weight_bytes(graph), entry.options.activation)

    def _graph(self, snapshot: Snapshot) -> Graph:
        """Our own graph where we can make one, the repository's ONNX file otherwise."""
        if not can_convert(snapshot):
            graph = existing_graph(snapshot)
            if graph is None:
                raise UnsupportedModel(
                    "the model has neither weights that can be converted (model.safetensors) nor an ONNX file: "
                    "save it with safe_serialization=True, or export it to onnx/model.onnx"
                )
            return graph

        def build(folder: Path) -> None:
            made = convert(snapshot, folder)
            (folder / _GRAPH_FILE).write_text(json.dumps({"file": made.path.name, "precision": made.precision}))

        folder = self.store.prepared(f"{graph_key(snapshot, self.store)}-{__version__}", build)
        note = cast("dict[str, str]", json.loads((folder / _GRAPH_FILE).read_text("utf-8")))
        return Graph(folder / note["file"], note["precision"])

    def _fingerprint(self, snapshot: Snapshot, graph: Graph, family: str, engine: str, max_tokens: int) -> str:
        files = _files(snapshot, ".safetensors", ".json", ".onnx", ".data", ".txt")
        parts = [self.store.digest(files), graph.precision, family, engine, str(max_tokens), __version__]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _weight_bytes(graph: Graph) -> int:
    """Measure the weights where they lie: beside an ONNX file, under its name; else in the folder."""
    beside = graph.kind == "onnx"
    files = graph.path.parent.glob(f"{graph.path.name}*") if beside else graph.path.glob("*.safetensors")
    return sum(file.stat().st_size for file in files)


def graph_key(snapshot: Snapshot, store: Store) -> str:
    """Name what a graph is made of: the keys of all graphs made of these weights begin with it."""
    return store.digest(_files(snapshot, ".safetensors", "config.json", "modules.json"))[:32]


def take_snapshot(folder: Path) -> Snapshot:
    """Read `config.json` and list the files.

    Raises:
        UnsupportedModel: there is no readable `config.json`.
    """
    try:
        config = cast("JsonValue", json.loads((folder / "config.json").read_text("utf-8")))
    except FileNotFoundError as error:
        raise UnsupportedModel(
            f"the folder {folder.name!r} has no config.json: give the folder that save_pretrained or a download made"
        ) from error
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"config.json of {folder.name!r} cannot be read: {type(error).__name__}") from error
    if not isinstance(config, dict):
        raise UnsupportedModel(f"config.json of {folder.name!r} holds no object")
    files = frozenset(file.relative_to(folder).as_posix() for file in folder.glob("*") if file.is_file())
    nested = frozenset(file.relative_to(folder).as_posix() for file in folder.glob("*/*") if file.is_file())
    return Snapshot(folder, config, files | nested)


def recognise(snapshot: Snapshot, known: str = "") -> tuple[str, Family]:
    """Find the one family these files belong to; `known` is what the model's card says, for files that do not tell.

    Raises:
        UnsupportedModel: none, or more than one; the message lists what was tried.
    """
    families = {name: cast("Family", plugins.load("families", name)) for name in plugins.names("families")}
    fitting = [name for name, family in families.items() if family.recognises(snapshot)]
    if not fitting and known in families:
        fitting = [known]
    if len(fitting) == 1:
        return fitting[0], families[fitting[0]]
    if fitting:
        what = f"architectures {snapshot.config.get('architectures')}, model_type {snapshot.config.get('model_type')!r}"
        raise UnsupportedModel(f"the model ({what}) fits several families: {', '.join(fitting)}")
    raise UnsupportedModel(
        f"{describe(snapshot)}. It is no reranker that is known here; families tried: {', '.join(families)}"
    )


def _files(snapshot: Snapshot, *endings: str) -> list[Path]:
    return [snapshot.folder / file for file in sorted(snapshot.files) if file.endswith(endings)]


def _warm_up(reader: Reader, engine: Engine) -> None:
    for query, documents in _WARM_UP:
        work = reader.read(query, documents)
        scores = reader.activate(work.score(engine.run(work.encodings)))
        if scores.shape != (len(documents),) or not all(math.isfinite(score) for score in np.asarray(scores)):
            raise ScoresDisagree(
                f"the model gave {scores.tolist()} for {len(documents)} known pair(s): its weights are damaged"
            )
