"""The result of a bench: what `--json` prints, and the sentences and tables made of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rerankd.bench.capacity import Capacity
from rerankd.bench.flops import LayerShape
from rerankd.bench.machine_facts import MachineFacts
from rerankd.bench.measure import CellFigures, TargetFigures

SCHEMA = "rerankd-bench/1"
_MIB = 1 << 20
_FEW_FOR_P99 = 100
_ORDERS_AGREE = 0.9
_PAIRS_PER_WORKER, _BUSY = 10, 0.8


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The model measured. `layers` is None where its operations are not known to the bench."""

    id: str
    family: str
    engine: str
    precision: str
    max_tokens: int
    fingerprint: str
    layers: LayerShape | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """How it was measured. `doc_tokens` None is the usual mix of lengths; `file`: requests were the user's own."""

    over: str
    workers: int
    seed: int
    doc_tokens: int | None
    file: bool
    seconds: float
    caches: str = "off"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from starting a process to its first score, by repeat; over HTTP to the first answer with a score."""

    first_score_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes of `process`: before the model, with it, after the load, and the most there was.

    None where the system does not tell.
    """

    process: str
    bare_bytes: int | None
    loaded_bytes: int | None
    after_bytes: int | None
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Peak:
    """The matrix peak over all samples, in GFLOP/s (two per multiply-add), of one product on so many threads."""

    precision: str
    workers: int
    median_gflops: float
    best_gflops: float
    samples: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured, and with what."""

    machine: MachineFacts
    model: ModelFacts
    conditions: Conditions
    start: Start
    memory: Memory
    peak: Peak
    cells: tuple[CellFigures, ...]
    capacity: Capacity | None
    took_s: float
    schema: str = field(default=SCHEMA)


def as_json(report: Report) -> dict[str, object]:
    """Return the report as JSON has it: the names of the dataclasses' fields, `schema` first."""
    values = asdict(report)
    return {"schema": values.pop("schema"), **values}


def facts(report: Report) -> list[tuple[str, str]]:
    """Say in rows of two what was measured on what."""
    machine, model = report.machine, report.model
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    rows = [
        ("machine", f"{machine.cpu}, {_count(machine.cores, 'core')}{_quota(machine.quota_cores)}"),
        ("instructions", " ".join(machine.isa) or "not known"),
        ("software", f"{versions}, Python {machine.python}, {machine.system}"),
        ("date", machine.date),
        ("model", f"{model.id} ({model.family}, {model.engine}, {model.precision})"),
        ("measured", _conditions(report.conditions)),
        ("start to first score", " · ".join(f"{seconds:.2f} s" for seconds in report.start.first_score_s)),
        ("memory", _memory(report.memory)),
        ("matrix peak", _peak(report.peak)),
    ]
    if report.capacity:
        rows.append(("capacity", capacity_sentence(report.capacity)))
        rows += [("", remedy) for remedy in report.capacity.remedies]
    return rows


def capacity_sentence(capacity: Capacity) -> str:
    """Answer the capacity question in words."""
    demand = capacity.demand
    load = (
        f"{_count(demand.documents, 'document')} of {demand.doc_tokens} tokens at {demand.requests_per_s:g} requests/s "
        f"keep {capacity.cores_busy:.1f} of {_count(capacity.workers, 'core')} busy "
        f"({capacity.tokens_per_s_per_core:,.0f} tokens/s per core): utilisation {capacity.utilisation:.0%}; "
        f"{_count(capacity.cores_needed, 'core')} carry it at 70 %."
    )
    if capacity.expected_p95_s is None:
        return f"No. {load} The queue would grow without end"
    waits = (
        f"Expected p50 {_ms(capacity.expected_p50_s)}, p95 {_ms(capacity.expected_p95_s)} (arrivals at random, "
        "requests sharing the cores; first come first served, M/D/1: p95 "
        f"{_ms(capacity.expected_p95_first_come_s)})"
    )
    if capacity.carried:
        return f"Yes. {load} {waits}"
    return f"Hardly: waiting times are long and grow fast. {load} {waits}"


def table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows of all cells; one row per target."""
    several = any(len(cell.targets) > 1 for cell in report.cells)
    heading = ["documents", "clients", "requests", "pairs/s", "tokens/s", "p50 ms", "p95 ms", "p99 ms", "cores", "peak"]
    heading = [*heading, "errors", "target", "ratio"] if several else [*heading, "errors"]
    rows: list[list[str]] = []
    for cell in report.cells:
        if cell.left_out:
            continue
        ratios = {comparison.target: comparison.ratio for comparison in cell.comparisons}
        for figures in cell.targets:
            row = [_documents(cell), str(cell.clients), *_row(figures)]
            if several:
                ratio = ratios.get(figures.target)
                told = f"{ratio.median:.2f} ({ratio.least:.2f}-{ratio.most:.2f})" if ratio else "-"
                row += [figures.target, told if figures.target in ratios else ""]
            rows.append(row)
    return heading, rows


def remarks(report: Report) -> list[str]:
    """Say what a reader of the table should know."""
    found = [
        f"{_documents(c)} documents x {c.clients} clients: left out, {c.left_out}" for c in report.cells if c.left_out
    ]
    measured = [cell for cell in report.cells if not cell.left_out]
    figures = [target for cell in measured for target in cell.targets]
    if any(target.requests - target.errors < _FEW_FOR_P99 for target in figures):
        found.append("p99 of fewer than 100 requests is close to their slowest; --seconds gives more of them")
    if any(_starved(cell, report.conditions.workers) for cell in measured):
        found.append("the model did not get the cores it could use: other programs are running, figures are too low")
    if len({target.target for target in figures}) > 1:
        found.append("ratio: tokens/s of rerankd over the other's, same requests, median (least-most) of the rounds")
    for name in dict.fromkeys(target.target for target in figures if target.errors):
        failed = [target for target in figures if target.target == name and target.errors]
        count = sum(target.errors for target in failed)
        found.append(f"{name}: {_count(count, 'request')} failed; the first: {failed[0].first_error}")
    for name in dict.fromkeys(c.target for cell in measured for c in cell.comparisons):
        agreements = [c.agreement for cell in measured for c in cell.comparisons if c.target == name]
        known = [agreement for agreement in agreements if agreement is not None]
        if known and min(known) < _ORDERS_AGREE:
            found.append(
                f"{name} orders the documents differently (Spearman {min(known):.2f}): is it the same model, "
                "with the same maximum length? Made-up text separates models more than real text does"
            )
    return found


def _starved(cell: CellFigures, workers: int) -> bool:
    """Tell whether there was work for all workers all the time, and our side had much less than their cores."""
    cores = cell.targets[0].cpu_cores
    enough = cell.clients * (cell.documents or 1) >= _PAIRS_PER_WORKER * workers
    return enough and cores is not None and cores < _BUSY * workers


def _row(figures: TargetFigures) -> list[str]:
    times = figures.latency
    return [
        str(figures.requests),
        f"{figures.pairs_per_s:.1f}",
        f"{figures.tokens_per_s:.0f}",
        *([f"{1000 * seconds:.0f}" for seconds in (times.p50_s, times.p95_s, times.p99_s)] if times else ["-"] * 3),
        "-" if figures.cpu_cores is None else f"{figures.cpu_cores:.2f}",
        "-" if figures.share_of_peak is None else f"{figures.share_of_peak.median:.0%}",
        str(figures.errors),
    ]


def _documents(cell: CellFigures) -> str:
    return "file" if cell.documents is None else str(cell.documents)


def _conditions(conditions: Conditions) -> str:
    where = "in this process" if conditions.over == "process" else "over HTTP, server in a process of its own"
    texts = "requests of a file" if conditions.file else f"made-up zh/en text, {_lengths(conditions.doc_tokens)}"
    return f"{where}, {_count(conditions.workers, 'worker')}, {texts}, caches off"


def _lengths(doc_tokens: int | None) -> str:
    return "documents of 30-500 tokens, median 150" if doc_tokens is None else f"documents of {doc_tokens} tokens"


def _memory(memory: Memory) -> str:
    named = (
        ("before", memory.bare_bytes),
        ("model loaded", memory.loaded_bytes),
        ("after the load", memory.after_bytes),
        ("peak", memory.peak_bytes),
    )
    told = ", ".join(f"{name} {size / _MIB:.0f} MiB" for name, size in named if size is not None)
    return f"{told} ({memory.process})" if told else "not known on this system"


def _peak(peak: Peak) -> str:
    figures = f"{peak.best_gflops:.0f} GFLOP/s best, {peak.median_gflops:.0f} median of {peak.samples}"
    return f"{figures} ({peak.precision}, {_count(peak.workers, 'thread')})"


def _quota(cores: float | None) -> str:
    return "" if cores is None else f" (limited to {cores:g})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"


def names_of_targets(cells: Sequence[CellFigures]) -> list[str]:
    """List the targets measured, ours first."""
    return list(dict.fromkeys(figures.target for cell in cells for figures in cell.targets))
