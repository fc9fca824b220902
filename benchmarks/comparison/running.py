"""How a scenario is run: its options, its interleaved rounds, and where its figures go."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from comparison import disturbance, environments, places, results, shapes, units
from comparison.processes import Failed
from comparison.results import Entry

Figures = Mapping[str, float]
_MODELS = [*shapes.SHAPES, shapes.BUNDLED]
S = TypeVar("S")
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What every scenario is told. `models` () means the scenario's own choice; `rounds` 0 too."""

    quick: bool = False
    models: tuple[str, ...] = ()
    rounds: int = 0
    name: str = "comparison"
    folder: Path = places.RESULTS
    busy: float | None = field(default_factory=disturbance.busy)

    def chosen(self, *usual: str) -> Sequence[str]:
        """The models to measure: those asked for, as far as the scenario is about them."""
        return [model for model in usual if model in self.models] if self.models else usual

    def repeats(self, usual: int, quick: int = 1) -> int:
        """How many rounds."""
        return self.rounds or (quick if self.quick else usual)


def scenario_options(decorated: _Decorated) -> _Decorated:
    """Add the options that all scenarios have, passed on as one `Options`."""
    options = (
        click.option("--quick", is_flag=True, help="Fewer rounds and requests: a look, no figure to quote."),
        click.option(
            "--model", "models", multiple=True, type=click.Choice(_MODELS), help="Only this model (repeatable)."
        ),
        click.option("--rounds", default=0, help="Interleaved rounds [default: the scenario's]."),
        click.option("--name", default="comparison", show_default=True, help="Name of the results file."),
    )
    for option in options:
        decorated = option(decorated)
    return decorated


def command(run: Callable[[Options], None], about: str) -> click.Command:
    """Make a program of a scenario that has no options of its own."""

    def main(**options: Any) -> None:
        with failing_clearly():
            run(Options(**options))

    return click.command(help=about)(scenario_options(main))


@contextmanager
def failing_clearly() -> Generator[None]:
    """Say what failed in a line, without a traceback."""
    try:
        yield
    except Failed as error:
        raise click.ClickException(str(error)) from error


def interleave(subjects: Sequence[S], measure: Callable[[S, int], Figures], *, rounds: int,
               called: Callable[[S], str]) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Measure A B A B …: each round asks every subject once, `measure(subject, round)`, while the others idle.

    A subject that fails is left out from then on and named on standard error; what it gave before is kept.
    """
    samples: dict[str, dict[str, list[float]]] = {}
    failed: set[str] = set()
    for number in range(rounds):
        for subject in subjects:
            name = called(subject)
            if name in failed:
                continue
            try:
                figures = disturbance.undisturbed(partial(measure, subject, number))
            except Failed as error:
                failed.add(name)
                click.echo(f"  {name} failed: {error}", err=True)
                continue
            for unit, value in figures.items():
                samples.setdefault(name, {}).setdefault(unit, []).append(value)
            told = ", ".join(units.once(unit, value) for unit, value in figures.items())
            click.echo(f"  round {number + 1} {name:22} {told}", err=True)
    return samples


def record(options: Options, entry: Entry) -> None:
    """Write an entry to the results and print it."""
    whole = replace(
        entry, quick=options.quick, measured_at=results.now(), busy=options.busy, revision=results.revision(places.ROOT)
    )
    file = results.add(options.folder, options.name, whole, environments.versions())
    show(whole)
    click.echo(f"  -> {file.name}")


def show(entry: Entry) -> None:
    """Print an entry: medians with their reach, ratios of the first subject to the others, goals."""
    click.echo(f"{entry.scenario}: {entry.model}, {entry.case}" + (" (quick)" if entry.quick else ""))
    first = next(iter(entry.samples), "")
    for subject, by_unit in entry.samples.items():
        told = [f"{units.told(unit, entry.spread(subject, unit))} {units.UNITS[unit].title}" for unit in by_unit]
        ratio = compared(entry, first, subject)
        click.echo(f"  {subject:22} {'; '.join(told)}" + (f"; {first} is {ratio} as fast" if ratio else ""))
    for what, value in entry.figures.items():
        click.echo(f"  {what}: {value:,.6g}")
    for note in entry.notes:
        click.echo(f"  {note}")
    for goal in entry.goals:
        verdict = "met" if goal.met else "MISSED"
        click.echo(f"  goal {goal.what}: {goal.measured:.4g} {goal.sense} {goal.limit:g}? {verdict}")


def compared(entry: Entry, first: str, subject: str) -> str:
    """Say how much faster the first subject is, in the unit in which this entry compares; "" where nothing is."""
    unit = next((unit for unit in entry.samples[subject] if units.UNITS[unit].ratios), None)
    return units.times(entry.ratio(first, subject, unit)) if unit and subject != first else ""


def largest_difference(left: Iterable[Sequence[float]], right: Iterable[Sequence[float]]) -> float:
    """The largest difference between two lists of scores per request."""
    return max(abs(a - b) for one, two in zip(left, right, strict=True) for a, b in zip(one, two, strict=True))
