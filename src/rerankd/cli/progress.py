"""Progress bars: on standard error, only on a terminal, gone when done."""

import sys
from collections.abc import Iterable
from typing import TypeVar, cast

T = TypeVar("T")


def watched(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """Show how far a long loop is; without `total`, how many are done."""
    from tqdm import tqdm

    # disable=None: not when standard error is no terminal.
    return cast("Iterable[T]", tqdm(items, desc=what, total=total, file=sys.stderr, disable=None, leave=False))
