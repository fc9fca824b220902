"""A report of figures that nobody measured, for tests of what is made of reports."""

from rerankd.bench.flops import LayerShape
from rerankd.bench.machine_facts import MachineFacts
from rerankd.bench.measure import Cell, CellFigures, Comparison, TargetFigures, left_out
from rerankd.bench.report import Conditions, Memory, ModelFacts, Peak, Report, Start
from rerankd.bench.statistics import Latency, Spread

OTHER = "127.0.0.1:8080"


def figures(target: str, documents: int, clients: int, *, speed: float, errors: int = 0) -> TargetFigures:
    alone = documents / speed
    busy = alone * clients
    return TargetFigures(
        target=target,
        requests=40,
        errors=errors,
        first_error="server_unreachable: HTTP 500: no" if errors else "",
        pairs_per_s=speed * (1 - 0.1 / clients),
        tokens_per_s=180 * speed * (1 - 0.1 / clients),
        gflops=speed * 4.7,
        latency=Latency(busy, busy, 1.3 * busy, 1.5 * busy, 1.6 * busy),
        cpu_cores=1.9,
        share_of_peak=Spread(0.82, 0.8, 0.84),
    )


def report(*, other: bool = True, agreement: float = 0.99, errors: int = 0) -> Report:
    cells: list[CellFigures] = []
    for documents in (5, 20, 100):
        for clients in (1, 4, 16):
            targets = [figures("rerankd", documents, clients, speed=30)]
            if other:
                targets.append(figures(OTHER, documents, clients, speed=10, errors=errors))
            comparisons = (Comparison(OTHER, Spread(3.0, 2.8, 3.2), agreement),) if other else ()
            cells.append(CellFigures(documents, clients, "", 3, 150.0, tuple(targets), comparisons))
    cells[-1] = left_out(Cell(100, 16), "it would have taken about 53 s")
    return Report(
        machine=MachineFacts("2026-11-21T12:00:00+00:00", "A processor", 2, None, ("avx2",), 8 << 30, None,
                             "Linux 6 x86_64", "3.12.1", {"rerankd": "0.1.0"}),
        model=ModelFacts("a-model", "cross_encoder", "onnx", "fp32", 512, "f00d", LayerShape(6, 384, 1536)),
        conditions=Conditions("process", 2, 1, None, False, 60.0),
        start=Start((0.91, 0.93, 0.95)),
        memory=Memory("a fresh process with its caches", 40 << 20, 150 << 20, 190 << 20, 200 << 20),
        peak=Peak("fp32", 2, 150.0, 155.0, 30),
        cells=tuple(cells),
        capacity=None,
        took_s=61.0,
    )  # fmt: skip
