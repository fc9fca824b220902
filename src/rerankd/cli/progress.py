"""Progress bars: on standard error, only on a terminal, gone when done."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from rerankd.cli.output import note

if TYPE_CHECKING:
    from rerankd.types import ModelState, Progress

T = TypeVar("T")


def watched(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Show how far a long loop is; without `total`, how many are done."""
    from tqdm import tqdm

    # disable=None: not when standard error is no terminal.
    return cast("Iterable[T]", tqdm(items, desc=what, total=total, file=sys.stderr, disable=None, leave=False))


@contextmanager
def progress_bar(title: str) -> "Generator[Callable[[Progress], None]]":
    """Yield what takes reports; nothing is shown unless standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(desc=title, unit="B", unit_scale=True, dynamic_ncols=True, file=sys.stderr, leave=False) as bar:

        def show(progress: "Progress") -> None:
            bar.total = progress.total_bytes or None
            bar.n = progress.done_bytes
            bar.refresh()

        yield show


def downloads(show: "Callable[[Progress], None]") -> "Callable[[ModelState | Progress], None]":
    """Pass on how far a download is, and nothing else of a loader's reports."""
    from rerankd.types import Progress

    def report(news: "ModelState | Progress") -> None:
        if isinstance(news, Progress):
            show(news)

    return report


@contextmanager
def steps(title: str) -> "Generator[Callable[[str, int, int], None]]":
    """Yield what hears steps: `(step, done, total)`. A terminal shows a bar, a file gets a line when a step begins."""
    if not sys.stderr.isatty():
        yield lambda step, done, _: None if done else note(f"{title}: {step}")
        return
    from tqdm import tqdm

    with tqdm(desc=title, dynamic_ncols=True, file=sys.stderr, leave=False) as bar:

        def show(step: str, done: int, total: int) -> None:
            bar.set_description(f"{title}: {step}", refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        yield show


def megabytes(size: int) -> str:
    """Write a size as people read it."""
    return f"{size / 1e6:,.1f} MB"
