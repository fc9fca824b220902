"""The report's figures as SVG text, by matplotlib (extra `plots`); nothing in them is fetched from anywhere."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rerankd.errors import ConfigError
from rerankd.evaluation.calibration import Calibration
from rerankd.evaluation.metrics import Floats, Measure
from rerankd.evaluation.statistics import Estimate

_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#cb912f", "#d44c47")
_INCH = 0.42


def bars(estimates: Mapping[str, Mapping[Measure, Estimate]]) -> str:
    """Draw each system's measures as bars with their 95 % intervals."""
    measures = list(next(iter(estimates.values())))
    figure, axes = _figure(7.6, 0.9 + _INCH * len(measures) * max(1.6, 0.5 * len(estimates)))
    height = 0.8 / len(estimates)
    for i, (system, found) in enumerate(estimates.items()):
        places = [j + (i - (len(estimates) - 1) / 2) * height for j in range(len(measures))]
        means = [found[measure].mean for measure in measures]
        # A percentile interval need not hold the mean of the sample itself.
        low = [max(0.0, mean - found[measure].low) for mean, measure in zip(means, measures, strict=True)]
        high = [max(0.0, found[measure].high - mean) for mean, measure in zip(means, measures, strict=True)]
        axes.barh(places, means, height=height * 0.92, color=_COLOURS[i % len(_COLOURS)], label=system,
                  xerr=[low, high], error_kw={"ecolor": "#37352f", "elinewidth": 1, "capsize": 2})  # fmt: skip
    axes.set_yticks(range(len(measures)), [str(measure) for measure in measures])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.01)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=min(3, len(estimates)), frameon=False)
    return _svg(figure, "bars")


def gaps(first: str, second: str, measure: Measure, differences: Floats) -> str:
    """Draw the difference of each query, sorted: how many gain, how many lose, and how much."""
    figure, axes = _figure(7.6, 2.4)
    ordered = np.sort(differences)[::-1]
    colours = np.where(ordered > 0, _COLOURS[2], _COLOURS[7])
    axes.bar(np.arange(len(ordered)), ordered, width=1.0, color=colours.tolist())
    axes.axhline(0, color="#37352f", linewidth=0.8)
    axes.set_xlim(-0.5, len(ordered) - 0.5)
    axes.set_ylim(-1.05, 1.05)
    axes.set_xlabel("queries, sorted")
    axes.set_ylabel(f"{measure} difference")
    axes.set_title(f"{first} − {second}", fontsize=10)
    return _svg(figure, f"gaps {first} {second}")


def reliability(calibrations: Mapping[str, Calibration]) -> str:
    """Draw the share of relevant pairs over the score that promised it; the diagonal is a promise kept."""
    figure, axes = _figure(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color="#787774", linewidth=0.8, linestyle="--")
    for i, (system, found) in enumerate(calibrations.items()):
        axes.plot([one.score for one in found.bins], [one.relevant for one in found.bins], marker="o", markersize=4,
                  color=_COLOURS[i % len(_COLOURS)], label=f"{system}: error {found.error:.3f}")  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score", ylabel="share relevant")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return _svg(figure, "reliability")


def _figure(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("a report needs matplotlib: install rerankd[plots]") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Any, salt: str) -> str:
    import matplotlib as mpl

    stream = io.StringIO()
    nothing: Sequence[str] = ("Creator", "Date", "Format", "Type")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}), warnings.catch_warnings():
        # Text stays text, which a browser draws in its own font; matplotlib only needs a width for it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(nothing))
    drawn = stream.getvalue()
    return drawn[drawn.index("<svg") :]
