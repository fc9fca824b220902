"""What is known of a prepared graph, kept beside it: what was measured when it was made, once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from rerankd.convert.agreement import Agreement
from rerankd.engines.base import Graph
from rerankd.errors import ModelLoadError
from rerankd.types import JsonValue

Wanted = Literal["auto", "fp32", "int8"]

RECIPE = 1
"""To be raised when int8 graphs are made another way, so that old ones are made anew."""
MIN_GAIN = 1.2
"""int8 must be this much faster than fp32, or it is not worth its error."""
_FILE = "graph.json"


@dataclass(frozen=True, slots=True)
class EightBitNote:
    """What was measured of a model's int8 graph.

    `gain` is the time of fp32 over that of int8, where the graph was made. `in_fp32` names layers that were left as
    they are because eight bits hurt them most.
    """

    agreement: Agreement
    gain: float
    weight_limit: int
    in_fp32: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether `auto` takes it."""
        return self.agreement.passes and self.gain >= MIN_GAIN

    @property
    def made(self) -> str:
        """All that tells this graph from another one of the same weights."""
        return f"int8-{RECIPE}-{self.weight_limit}-{','.join(self.in_fp32)}"

    def sentence(self) -> str:
        """Say in words what was measured and what follows from it."""
        measured = f"{self.agreement.sentence()}; {self.gain:.2f} times as fast where it was made"
        if not self.agreement.passes:
            return f"int8 does not agree with fp32 well enough: {measured}"
        if self.gain < MIN_GAIN:
            return f"int8 agrees with fp32 but gains too little: {measured}"
        return f"int8 agrees with fp32: {measured}"

    def facts(self) -> dict[str, JsonValue]:
        """For an answer."""
        return {
            "passes": self.passes,
            "gain": round(self.gain, 3),
            **self.agreement.facts(),
            "recipe": RECIPE,
            "weight_limit": self.weight_limit,
            "in_fp32": list(self.in_fp32),
        }


@dataclass(frozen=True, slots=True)
class Note:
    """What lies in a folder of the store: the graph's file, and for int8 what was measured."""

    precision: str
    file: str
    eight_bits: EightBitNote | None = None

    def graph(self, folder: Path) -> Graph:
        """The graph."""
        return Graph(folder / self.file, self.precision)


_NOTE = TypeAdapter(Note)


def write_note(folder: Path, note: Note) -> None:
    """Write it down; the folder is still private to whoever fills it."""
    (folder / _FILE).write_bytes(_NOTE.dump_json(note, indent=1))


def read_note(folder: Path) -> Note:
    """Read it back.

    Raises:
        ModelLoadError: the folder was tampered with.
    """
    try:
        return _NOTE.validate_json((folder / _FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelLoadError(
            f"{folder.name}/{_FILE} in the store is damaged: remove that folder, and the model is prepared anew"
        ) from error
