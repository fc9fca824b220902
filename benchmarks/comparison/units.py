"""Units of the figures: what each is called, and how it is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from comparison.disturbance import OTHERS
from rerankd.bench.statistics import Spread


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's title and how a figure of it is written. `ratios`: rivals are compared in it."""

    title: str
    write: Callable[[float], str]
    ratios: bool = False


UNITS: Mapping[str, Unit] = {
    "tokens_per_s": Unit("tokens/s", lambda value: f"{value:,.0f}", ratios=True),
    "pairs_per_s": Unit("pairs/s", lambda value: f"{value:,.2f}" if value < 10 else f"{value:,.1f}"),
    "gflops": Unit("GFLOP/s", lambda value: f"{value:,.1f}"),
    "peak_gflops": Unit("matrix peak, GFLOP/s", lambda value: f"{value:,.1f}"),
    "share": Unit("share of the peak around it", lambda value: f"{value:.1%}"),
    "p50_s": Unit("p50, s", lambda value: f"{value:.3f}"),
    "p99_s": Unit("p99, s", lambda value: f"{value:.3f}"),
    "rss_mb": Unit("RSS, MB", lambda value: f"{value:,.0f}"),
    "peak_rss_mb": Unit("peak RSS, MB", lambda value: f"{value:,.0f}"),
    OTHERS: Unit("cores used by others", lambda value: f"{value:.2f}"),
    "seconds": Unit("seconds", lambda value: f"{value:.2f}"),
}


def told(unit: str, found: Spread | None) -> str:
    """Write a median with its reach; the reach only where there are several rounds."""
    if found is None:
        return "–"
    write = UNITS[unit].write
    if found.least == found.most:
        return write(found.median)
    return f"{write(found.median)} ({write(found.least)}–{write(found.most)})"


def times(found: Spread | None) -> str:
    """Write a ratio with its reach."""
    if found is None:
        return "–"
    reach = "" if found.least == found.most else f" ({found.least:.2f}–{found.most:.2f})"
    return f"{found.median:.2f}x{reach}"


def once(unit: str, value: float) -> str:
    """Write one figure with its unit's title."""
    return f"{UNITS[unit].write(value)} {UNITS[unit].title}"
