"""What was measured, as raw samples: one dated file per machine, in which a repeated measurement replaces its former.

Nothing is summarised here: medians, ratios and verdicts are made from the samples by whoever shows them.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from comparison.disturbance import NOTICEABLE, OTHERS
from rerankd.bench.machine_facts import describe_machine
from rerankd.bench.statistics import Spread, spread

FORMAT = 1

Samples = Mapping[str, Mapping[str, Sequence[float]]]
"""Subject -> unit -> one figure per round."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that the project promises, and what was measured. `sense` says on which side of `limit` it has to be."""

    what: str
    sense: Literal[">=", "<="]
    limit: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.limit if self.sense == ">=" else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Entry:
    """One measurement: a scenario on a model under one load (`case`). `figures` are single numbers, not repeated ones.

    `busy` is how many cores were in use when the program began: above a few tenths, somebody else was at work.
    A round's samples tell the same of the round (`disturbance.OTHERS`). `revision` is rerankd's commit.
    """

    scenario: str
    model: str
    case: str
    samples: Samples = field(default_factory=dict[str, Mapping[str, Sequence[float]]])
    figures: Mapping[str, float] = field(default_factory=dict[str, float])
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    quick: bool = False
    measured_at: str = ""
    revision: str = ""
    busy: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is replaced by."""
        return self.scenario, self.model, self.case

    @property
    def disturbed(self) -> float:
        """The most cores that others used in a round that counts; where no round tells, before."""
        told = [cores for subject in self.samples for cores in self.counted(OTHERS, subject)[0]]
        return max(told, default=self.busy or 0.0)

    def counted(self, unit: str, *subjects: str) -> Sequence[Sequence[float]]:
        """Each subject's figures of the rounds that count: in none of them were others at work beside any of these.

        Where every round was disturbed, all count, and `disturbed` says so.
        """
        found = [self.samples.get(subject, {}) for subject in subjects]
        rounds = range(min(len(by_unit.get(unit, ())) for by_unit in found))
        calm = [number for number in rounds if all(_others(by_unit, number) <= NOTICEABLE for by_unit in found)]
        return [[by_unit[unit][number] for number in calm or rounds] for by_unit in found]

    def spread(self, subject: str, unit: str) -> Spread | None:
        """Median and reach of a subject's figure over the rounds that count; None where it was not measured."""
        return spread(self.counted(unit, subject)[0])

    def ratio(self, subject: str, other: str, unit: str) -> Spread | None:
        """Median and reach of the ratios of subject to other, round by round; None where one was not measured."""
        ours, theirs = self.counted(unit, subject, other)
        return spread([one / two for one, two in zip(ours, theirs, strict=True) if two > 0])


@dataclass(frozen=True, slots=True)
class Results:
    """A file of results: the machine, the rivals' versions, the entries."""

    name: str
    date: str
    machine: Mapping[str, Any]
    rivals: Mapping[str, Mapping[str, str]]
    entries: Sequence[Entry] = ()


def read(file: Path) -> Results:
    """Read a file of results.

    Raises:
        ValueError: it is of another format.
    """
    value = cast("dict[str, Any]", json.loads(file.read_text("utf-8")))
    if value.pop("format", None) != FORMAT:
        raise ValueError(f"{file.name} is no file of results of format {FORMAT}: measure anew")
    entries = tuple(_entry(entry) for entry in value.pop("entries"))
    return Results(**value, entries=entries)


def add(folder: Path, name: str, entry: Entry, rivals: Mapping[str, Mapping[str, str]]) -> Path:
    """Put an entry into today's file of that name, in the place of one with the same key; return the file.

    Raises:
        ValueError: the file there is of another format or another machine.
    """
    today = datetime.now(UTC).date().isoformat()
    file = folder / f"{today}-{name}.json"
    facts = _facts()
    old = read(file) if file.is_file() else Results(name, today, facts, rivals)
    if any(old.machine[fact] != facts[fact] for fact in ("cpu", "cores")):
        raise ValueError(f"{file.name} was measured on another machine: choose another --name")
    kept = [former for former in old.entries if former.key != entry.key]
    entries = sorted([*kept, entry], key=lambda one: one.key)
    results = Results(name, today, facts, rivals, tuple(entries))
    _write(file, json.dumps({"format": FORMAT, **asdict(results)}, indent=1, ensure_ascii=False))
    return file


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def revision(folder: Path) -> str:
    """The commit that a folder is at, with a "+" where files differ from it; "" where it is no repository."""

    def told(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return told("rev-parse", "--short", "HEAD") + ("+" if told("status", "--porcelain", "src") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _facts() -> dict[str, Any]:
    facts = asdict(describe_machine())
    return {**facts, "system": facts["system"].partition("-")[0]}  # whose build of a kernel it is says nothing


def _others(by_unit: Mapping[str, Sequence[float]], number: int) -> float:
    told = by_unit.get(OTHERS, ())
    return told[number] if number < len(told) else 0.0


def _entry(value: dict[str, Any]) -> Entry:
    goals = tuple(Goal(**goal) for goal in value.pop("goals"))
    notes = tuple(value.pop("notes"))
    return Entry(**value, goals=goals, notes=notes)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    Path(temporary).replace(file)
