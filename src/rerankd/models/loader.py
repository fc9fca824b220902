"""From an entry to a ready model: files, family, graph, engine, warm-up. Blocking; called from a thread."""

import hashlib
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from rerankd import __version__, plugins
from rerankd.convert.convert import can_convert, convert, existing_graph
from rerankd.convert.formats import Format
from rerankd.engines.base import Engine, EngineFactory, Graph, Spreading
from rerankd.errors import ScoresDisagree, UnsupportedModel
from rerankd.families.base import CausalReader, Family, Reader, Snapshot
from rerankd.models.choosing import Convertible, Prepared, choose, ready_made
from rerankd.models.engine_choice import choose_engine
from rerankd.models.golden import check_golden
from rerankd.models.loaded import LoadedModel, derivation, score_type
from rerankd.models.notes import Wanted
from rerankd.models.precision import Say
from rerankd.models.unknown import describe
from rerankd.registry import certificates
from rerankd.registry.obtain import obtain
from rerankd.registry.resolve import Entry
from rerankd.registry.revisions import snapshot_id
from rerankd.registry.store import Store
from rerankd.scheduler.batching import UNBOUNDED, Bound
from rerankd.sources.base import Access
from rerankd.types import GoldenScores, JsonValue, ModelInfo, ModelState, Progress

logger = logging.getLogger(__name__)

Report = Callable[[ModelState | Progress], None]
"""Hears each state, and while files are fetched how far that is. What it raises ends the loading."""

_WARM_UP = (("a", ("b",)), ("什么是重排序?", ("Reranking puts the best documents first. " * 4,)))
"""A shortest and a usual input: the first run sets the engine up, and no caller should wait for that.

No longest one: nothing is kept by length, and the first pair of 465 tokens took as long as the next (0.17 s on
MiniLM-L6, one thread), while having it here delayed every start by 0.12 s, by 1.4 s with bge-base.
"""


@dataclass(frozen=True, slots=True)
class Loader:
    """How models are made ready here. `max_tokens` lowers every model's own limit.

    `access` says how sources reach out (by default: to nobody), `prefer` which of them is asked first. `check_golden`
    False serves a model that does not give the known scores of its card, with a warning. `precision` is that asked for:
    see `choosing`.
    """

    store: Store
    access: Access | None = None
    prefer: str = ""
    engine: str = "auto"
    max_tokens: int | None = None
    document_cache_bytes: int = 0
    precision: Wanted = "fp32"
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
        return obtain(entry, self.reach, downloading(report), prefer=self.prefer)

    @property
    def reach(self) -> Access:
        """How sources reach out."""
        return self.access or Access(self.store.root, offline=True)

    def load_from(self, entry: Entry, folder: Path, report: Report) -> LoadedModel:
        """Make a model ready from these files of it. Raises as `load`."""
        if entry.options.precision and entry.options.precision != self.precision:
            return replace(self, precision=entry.options.precision).load_from(entry, folder, report)
        snapshot = take_snapshot(folder)
        family_name, family = recognise(snapshot, entry.card.family if entry.card else "")
        most = entry.options.max_tokens or self.max_tokens
        reader = family.open(snapshot, max_tokens=most, cache_bytes=self.document_cache_bytes)
        report(ModelState.LOADING)
        say = _say(entry, report)
        engine_name, factory, prepared = self._decide(snapshot, family, reader, say, measure=False)
        graph = prepared.graph
        logger.log(prepared.level, "%s runs in %s: %s", entry.id, graph.precision, prepared.why)
        report(ModelState.LOADING)
        engine = factory.open(graph)
        bound = _bound(engine, entry.options.threads)
        report(ModelState.WARMING)
        _warm_up(reader, engine)
        golden = self._compare(entry, reader, engine, prepared)
        fingerprint = self._fingerprint(snapshot, prepared, family_name, engine_name, reader.max_tokens)
        verified = certificates.find(self.store.root, fingerprint, engine_name)
        temperature, bias = _calibration(entry)
        info = replace(
            _info(entry, reader, prepared),
            family=family_name,
            engine=engine_name,
            fingerprint=fingerprint,
            revision=snapshot_id(folder),
            verified=verified,
            golden=golden,
        )
        return LoadedModel(
            info, reader, engine, snapshot.folder, _weight_bytes(graph), entry.options.activation, temperature, bias,
            bound,
        )  # fmt: skip

    def _compare(self, entry: Entry, reader: Reader, engine: Engine, prepared: Prepared) -> GoldenScores | None:
        """Hold it against its card: that of its repository, whatever the revision; a folder of one's own has none."""
        if not entry.card or not entry.card.golden:
            return None
        asked = entry.options.check_golden
        refuse = self.check_golden if asked is None else asked
        precision = prepared.graph.precision
        return check_golden(entry.card, reader, engine, precision=precision, slack=prepared.slack, refuse=refuse)

    def prepare(self, entry: Entry, folder: Path, say: Say) -> Prepared:
        """Make the graph that `load_from` will run, if it is not there yet, and tell what was decided.

        Unlike `load`, this makes and measures int8 for "auto" too. `say` hears each step of the work. Raises as `load`.
        """
        snapshot = take_snapshot(folder)
        _, family = recognise(snapshot, entry.card.family if entry.card else "")
        reader = family.open(snapshot, max_tokens=None, cache_bytes=0)
        return self._decide(snapshot, family, reader, say, measure=True)[2]

    def _decide(
        self, snapshot: Snapshot, family: Family, reader: Reader, say: Say, *, measure: bool
    ) -> tuple[str, EngineFactory, Prepared]:
        """Find the engine and what it runs: the weights as they lie, our own graph, or the repository's ONNX file."""
        answers = reader.answers if isinstance(reader, CausalReader) else None
        name, factory, plan = choose_engine(self.engine, snapshot.config, causal=answers is not None)
        if plan:
            graph = Graph(snapshot.folder, plan.precision, "weights", answers or ())
            return name, factory, Prepared(graph, f"engine {name} runs the weights as they are")
        if can_convert(snapshot):
            model = self._convertible(snapshot, family)
            chosen = choose(self.store, model, factory, wanted=self.precision, measure=measure, say=say)
            return name, factory, chosen
        ready = existing_graph(snapshot)
        if ready is None:
            raise UnsupportedModel(
                "the model has neither weights that can be converted (model.safetensors) nor an ONNX file: "
                "save it with safe_serialization=True, or export it to onnx/model.onnx"
            )
        return name, factory, ready_made(ready, snapshot, self.precision)

    def _convertible(self, snapshot: Snapshot, family: Family) -> Convertible:
        def write(folder: Path, number_format: Format) -> Graph:
            return convert(snapshot, folder, number_format)

        def open_reader() -> Reader:
            return family.open(snapshot, max_tokens=None, cache_bytes=0)

        return Convertible(
            key=graph_key(snapshot, self.store),
            texts_key=self.store.digest(_files(snapshot, "tokenizer.json"))[:8],
            size=sum(file.stat().st_size for file in _files(snapshot, ".safetensors")),
            write=write,
            open_reader=open_reader,
        )

    def _fingerprint(self, snapshot: Snapshot, prepared: Prepared, family: str, engine: str, max_tokens: int) -> str:
        files = _files(snapshot, ".safetensors", ".json", ".onnx", ".data", ".txt")
        parts = [self.store.digest(files), prepared.variant, family, engine, str(max_tokens), __version__]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _calibration(entry: Entry) -> tuple[float, float]:
    """Return temperature and bias: what is set for the model, else what its card says."""
    options, card = entry.options, entry.card
    temperature = options.temperature or (card.temperature if card else 1.0)
    bias = options.bias if options.bias is not None else (card.bias if card else 0.0)
    return temperature, bias


def downloading(report: Report) -> Callable[[Progress], None]:
    """Say that a model is being downloaded once it is: with the first word of how far that is."""
    begun = False

    def tell(progress: Progress) -> None:
        nonlocal begun
        if not begun:
            begun = True
            report(ModelState.DOWNLOADING)
        report(progress)

    return tell


def _info(entry: Entry, reader: Reader, prepared: Prepared) -> ModelInfo:
    """Describe a model, but for what the files and the engine say."""
    kind = score_type(reader.score_type, entry.options.activation)
    return ModelInfo(
        id=entry.id,
        names=entry.names,
        state=ModelState.READY,
        precision=prepared.graph.precision,
        precision_reason=prepared.why,
        agreement=prepared.agreement,
        score_type=kind,
        score_from=derivation(kind, *_calibration(entry)),
        max_tokens=reader.max_tokens,
    )


def _bound(engine: Engine, threads: int) -> Bound:
    """Bound a model to so many threads (0: not): runs of one thread each, or one run on all of them."""
    if not threads:
        return UNBOUNDED
    if isinstance(engine, Spreading) and engine.spread(threads):
        return Bound(1, threads)
    return Bound(threads)


def _say(entry: Entry, report: Report) -> Say:
    """Log each step of the converting; what `report` raises, because the server shuts down, ends it."""

    def say(step: str, done: int, total: int) -> None:
        del total
        report(ModelState.CONVERTING)
        if not done:
            logger.info("%s: %s", entry.id, step)

    return say


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
