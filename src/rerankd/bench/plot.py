"""The bench as a picture: throughput by clients, response times by documents."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from rerankd.bench.measure import CellFigures, TargetFigures
from rerankd.bench.report import Report, names_of_targets
from rerankd.errors import ConfigError

FORMATS = (".svg", ".png")
_LINES = ("-", "--", ":", "-.")
_MARKS = ("o", "s", "^", "D", "v", "P")
"""Documents or clients are told apart by colour and mark, targets by line: print and colour blindness lose nothing."""
_BAR_STEP = 0.04  # bars of two targets stand beside each other
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's."""


def check_plot(file: Path) -> None:
    """Make sure that a plot can be drawn there, before anything is measured.

    Raises:
        ConfigError: the ending is none that is drawn, the folder does not exist, or matplotlib is not installed.
    """
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"{file.name!r} cannot be drawn: give a name that ends in {' or '.join(FORMATS)}")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"the folder of {file.name!r} does not exist: make it first")
    if find_spec("matplotlib") is None:
        raise ConfigError("a plot needs matplotlib: pip install 'rerankd[plots]', or leave --plot out")


def draw(report: Report, file: Path) -> None:
    """Write an SVG or PNG file, whole or not at all.

    Raises:
        ConfigError: as `check_plot`.
        OSError: the file cannot be written.
    """
    check_plot(file)
    figures = cast("Any", import_module("matplotlib.figure"))
    params = cast("Any", import_module("matplotlib")).rc_context
    with params({"svg.fonttype": "none", "svg.hashsalt": "rerankd", "font.size": 9}):
        figure = figures.Figure(figsize=(10, 5.2), layout="constrained")
        throughput, latency = figure.subplots(1, 2)
        _throughput(throughput, report)
        _latency(latency, report)
        figure.suptitle(_title(report), fontsize=10)
        half = file.with_name(f".{file.stem}.half{file.suffix}")
        try:
            figure.savefig(half, format=file.suffix[1:].lower(), dpi=150, metadata={"Date": None} if _svg(file) else {})
            half.replace(file)
        finally:
            half.unlink(missing_ok=True)


def _throughput(axes: Any, report: Report) -> None:
    measured = _measured(report)
    sizes = list(dict.fromkeys(cell.documents for cell in measured))
    for line, target in enumerate(names_of_targets(measured)):
        for place, documents in enumerate(sizes):
            points = [
                (cell.clients, of.tokens_per_s) for cell, of in _of(measured, target) if cell.documents == documents
            ]
            label = "own requests" if documents is None else f"{documents} documents"
            _line(axes, points, place, line, _label(label, target, report))
    clients = sorted({cell.clients for cell in measured})
    axes.set(xlabel="clients at once", ylabel="tokens per second", xscale="log", title="Throughput")
    axes.set_ylim(0, 1.08 * max((of.tokens_per_s for cell in measured for of in cell.targets), default=1.0))
    axes.set_xticks(clients, [str(number) for number in clients], minor=False)
    axes.set_xticks([], minor=True)
    _finish(axes)


def _latency(axes: Any, report: Report) -> None:
    measured = _measured(report)
    sizes = list(dict.fromkeys(cell.documents for cell in measured))
    ticker = cast("Any", import_module("matplotlib.ticker"))
    places = {documents: place for place, documents in enumerate(sizes)}
    for line, target in enumerate(names_of_targets(measured)):
        for place, clients in enumerate(dict.fromkeys(cell.clients for cell in measured)):
            cells = [(cell, of.latency) for cell, of in _of(measured, target) if cell.clients == clients and of.latency]
            points = [(places[cell.documents], 1000 * found.p50_s) for cell, found in cells if found]
            label = f"{clients} client{'s' if clients > 1 else ''}"
            _line(axes, points, place, line, _label(label, target, report))
            for cell, found in cells:
                if found:
                    x = places[cell.documents] + _BAR_STEP * line
                    ends = [1000 * found.p50_s, 1000 * found.p99_s]
                    axes.plot([x, x], ends, color=_COLOURS[place % len(_COLOURS)], alpha=0.4, linewidth=4)
    axes.set(
        xlabel="documents per request", ylabel="milliseconds", yscale="log", title="Response time: p50, bar to p99"
    )
    axes.set_xticks(range(len(sizes)), ["own" if documents is None else str(documents) for documents in sizes])
    axes.set_xlim(-0.3, len(sizes) - 0.7)
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    _finish(axes)


def _finish(axes: Any) -> None:
    """Draw grid and legend; the legend stands below, where it covers nothing."""
    axes.grid(alpha=0.3)
    rows = 3
    columns = max(1, -(-len(axes.get_legend_handles_labels()[0]) // rows))
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns, frameon=False)


def _line(axes: Any, points: list[tuple[int, float]], place: int, line: int, label: str) -> None:
    points.sort()
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=_COLOURS[place % len(_COLOURS)],
        marker=_MARKS[place % len(_MARKS)],
        linestyle=_LINES[line % len(_LINES)],
        label=label,
    )


def _measured(report: Report) -> list[CellFigures]:
    return [cell for cell in report.cells if not cell.left_out]


def _of(cells: list[CellFigures], target: str) -> list[tuple[CellFigures, TargetFigures]]:
    return [(cell, figures) for cell in cells for figures in cell.targets if figures.target == target]


def _label(label: str, target: str, report: Report) -> str:
    return f"{label}, {target}" if len(names_of_targets(_measured(report))) > 1 else label


def _title(report: Report) -> str:
    machine, model = report.machine, report.model
    where = "" if report.conditions.over == "process" else ", over HTTP"
    peak = f"{report.peak.precision} matrix peak {report.peak.median_gflops:.0f} GFLOP/s"
    return (
        f"{model.id} ({model.precision}){where} on {machine.cpu}, {machine.cores} cores, {machine.date[:10]}\n"
        f"{peak}; rerankd {machine.versions['rerankd']}"
    )


def _svg(file: Path) -> bool:
    return file.suffix.lower() == ".svg"
