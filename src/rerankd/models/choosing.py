"""fp32 or int8: what was asked for, what was measured, and the graph that follows from both."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from rerankd import __version__, machine
from rerankd.convert.formats import FullPrecision
from rerankd.engines.base import EngineFactory, Graph
from rerankd.errors import ModelLoadError
from rerankd.families.base import Reader, Snapshot
from rerankd.models.notes import RECIPE, EightBitNote, Note, Wanted, read_note, write_note
from rerankd.models.precision import NoEightBits, Say, Write, make_eight_bits
from rerankd.registry.store import Store
from rerankd.types import JsonObject, JsonValue

_AS_ASKED = "as models.precision asks"
_NOT_MEASURED = "int8 has not been measured for this kind of CPU: `rerankd convert` does that, once"
_SMALL_BYTES = 4 << 20
"""Networks of fewer bytes of weights are mostly other work than products: int8 slows them down."""
_SLACK = 2.0
"""How many times the largest error on the built-in texts a known score may be off in int8."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A graph, why it is this one, and what was measured of int8: {} where nothing was.

    `level` is how loud the reason should be logged, `variant` all of this that can change a score. `slack` is how far
    raw scores may be from those of fp32.
    """

    graph: Graph
    why: str
    agreement: JsonObject = field(default_factory=dict[str, JsonValue])
    level: int = logging.INFO
    made: str = ""
    slack: float = 0.0

    @property
    def variant(self) -> str:
        """All of this that can change a score."""
        return self.made or self.graph.precision


def ready_made(graph: Graph, snapshot: Snapshot, wanted: Wanted) -> Prepared:
    """Take a graph that lies among the model's files, whatever was asked for: there are no weights to make another."""
    told = snapshot.config.get("graph")
    facts = told.get("agreement") if isinstance(told, Mapping) else None
    agreement: JsonObject = cast("JsonObject", facts) if isinstance(facts, Mapping) else dict[str, JsonValue]()
    why = "the model ships as this graph"
    asked = wanted not in {"auto", graph.precision}
    if asked:
        why += f", without weights to make one in {wanted} of, which models.precision asks for"
    return Prepared(graph, why, agreement, logging.WARNING if asked else logging.INFO)


@dataclass(frozen=True, slots=True)
class Convertible:
    """A model that can be written in any precision.

    `key` names its weights, `texts_key` its tokenizer, to which int8 is fitted; `size` is the weights' bytes.
    `open_reader` opens a reader that keeps nothing between requests.
    """

    key: str
    texts_key: str
    size: int
    write: Write
    open_reader: Callable[[], Reader]


def choose(
    store: Store, model: Convertible, factory: EngineFactory, *, wanted: Wanted, measure: bool, say: Say
) -> Prepared:
    """Make the graph that is wanted, in the store, once.

    "auto" takes int8 where it was found to agree with fp32 and to be faster, and fp32 elsewhere; it makes and measures
    int8 only with `measure`, since that takes a minute for a model of ordinary size.

    Raises:
        ModelLoadError: int8 was asked for and cannot be made, or the store cannot be written.
    """
    shelf = _Shelf(store, model, say)
    if wanted == "fp32":
        return Prepared(shelf.full(), _AS_ASKED)
    if wanted == "auto" and model.size < _SMALL_BYTES:
        return Prepared(shelf.full(), "so small a network gains nothing from int8")
    if wanted == "auto" and not measure and not shelf.has_eight_bits():
        return Prepared(shelf.full(), _NOT_MEASURED)
    return _eight_bits_if_good(shelf, factory, wanted)


def _eight_bits_if_good(shelf: "_Shelf", factory: EngineFactory, wanted: Wanted) -> Prepared:
    try:
        graph, measured = shelf.eight_bits(factory)
    except NoEightBits as error:
        if wanted == "auto":
            return Prepared(shelf.full(), str(error))
        raise ModelLoadError(f"{error}; set models.precision to auto or fp32") from error
    why, facts = measured.sentence(), measured.facts()
    if wanted == "auto" and not measured.passes:
        return Prepared(shelf.full(), why, facts)
    slack = _SLACK * measured.agreement.largest * measured.agreement.spread
    if measured.passes:
        return Prepared(graph, why, facts, made=measured.made, slack=slack)
    return Prepared(graph, f"{_AS_ASKED}, though {why}", facts, logging.WARNING, measured.made, slack)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A model's graphs in the store."""

    store: Store
    model: Convertible
    say: Say

    def full(self) -> Graph:
        """That in fp32, made if it is not there."""

        def build(folder: Path) -> None:
            self.say("writing fp32", 0, 1)
            graph = self.model.write(folder, FullPrecision())
            write_note(folder, Note(graph.precision, graph.path.name))

        folder = self.store.prepared(f"{self.model.key}-{__version__}", build)
        return read_note(folder).graph(folder)

    def has_eight_bits(self) -> bool:
        """Whether int8 was made and measured."""
        return self._key in self.store.graphs(self._key)

    def eight_bits(self, factory: EngineFactory) -> tuple[Graph, EightBitNote]:
        """That in int8 and what was measured of it; both are made if they are not there."""

        def build(folder: Path) -> None:
            write_note(folder, make_eight_bits(folder, self.model.write, self.model.open_reader(), factory, self.say))

        folder = self.store.prepared(self._key, build)
        note = read_note(folder)
        if note.eight_bits is None:
            raise ModelLoadError(f"{folder.name} in the store holds no int8 graph: remove that folder")
        return note.graph(folder), note.eight_bits

    @property
    def _key(self) -> str:
        # The machine is part of the key: a store on a shared disk serves CPUs that sum bytes in different ways.
        kind = "wide" if machine.sums_bytes_exactly() else "narrow"
        return f"{self.model.key}-{__version__}-int8-{RECIPE}-{kind}-{self.model.texts_key}"
