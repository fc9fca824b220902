"""The machine's matrix peak: what its cores reach in matrix products and nothing else, through the same engine.

Measured with onnxruntime on graphs of one product each, one thread per session call and as many callers as the model
has workers, so that it is a bound for the model on this machine in this minute.
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from rerankd.convert.graph import ElementType, GraphBuilder

PeakPrecision = Literal["fp32", "int8"]

SIZES = ((256, 1024, 1024), (512, 1024, 1024), (256, 1024, 4096))
"""(rows, inner, columns) of the products tried; the best counts. Weights of 4 to 16 MB, as large models have them."""

_LOG_ERRORS_ONLY = 3


@dataclass(frozen=True, slots=True)
class _Product:
    """A loaded graph of one product, its input, and the operations of one run."""

    session: Any
    rows: NDArray[np.generic]
    operations: int

    def rate(self, seconds: float) -> float:
        """Run for about `seconds`, at least once; return operations per second of the calling thread."""
        started = now = time.perf_counter()
        done = 0
        while not done or now < started + seconds:
            self.session.run(None, {"rows": self.rows})
            done += self.operations
            now = time.perf_counter()
        return done / (now - started)


class MatrixPeak:
    """Sessions for every size, kept between samples. Blocking; a context manager."""

    def __init__(
        self, workers: int, precision: PeakPrecision = "fp32", sizes: Sequence[tuple[int, int, int]] = SIZES
    ) -> None:
        """Write and load the graphs.

        Raises:
            OSError: there is no room for a temporary file.
        """
        self.workers = workers
        self.precision: PeakPrecision = precision
        # Windows cannot delete a file that is mapped into memory; the system clears its temporary folder.
        with tempfile.TemporaryDirectory(prefix="rerankd-peak-", ignore_cleanup_errors=True) as folder:
            self._products = [_load(Path(folder), precision, size) for size in sizes]
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="rerankd-peak")
        for product in self._products:  # the first run allocates
            self._rate(product, 0.0)

    def sample(self, seconds: float = 0.2) -> float:
        """Return operations per second, of the best size in this sample; two operations are one multiply-add."""
        return max(self._rate(product, seconds / len(self._products)) for product in self._products)

    def close(self) -> None:
        """Stop the threads and free the matrices."""
        self._threads.shutdown()
        self._products = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _rate(self, product: _Product, seconds: float) -> float:
        # The sum of each thread's own rate: threads end up to one run apart, and nobody should wait in the figure.
        return sum(self._threads.map(product.rate, [seconds] * self.workers))


def write_product(path: Path, precision: PeakPrecision, size: tuple[int, int, int]) -> None:
    """Write a graph that multiplies its input `rows`, shape `(rows, inner)`, by a fixed matrix.

    fp32 is MatMul; int8 is MatMulInteger of unsigned rows and signed weights, what dynamic quantisation comes down to.
    """
    rows, inner, columns = size
    random = np.random.default_rng(0)
    data = path.with_name(path.name + ".data")
    with data.open("wb") as stream:
        builder = GraphBuilder(stream, data.name)
        if precision == "fp32":
            weights = random.standard_normal((inner, columns), dtype=np.float32)
            taken, given, operator = ElementType.FLOAT, ElementType.FLOAT, "MatMul"
        else:
            weights = random.integers(-64, 65, (inner, columns), dtype=np.int8)
            taken, given, operator = ElementType.UINT8, ElementType.INT32, "MatMulInteger"
        builder.input("rows", taken, (rows, inner))
        matrix = builder.weight("matrix", weights.shape, [weights])
        builder.output(builder.node(operator, ["rows", matrix], output="product"), given, (rows, columns))
    builder.write(path)


def _load(folder: Path, precision: PeakPrecision, size: tuple[int, int, int]) -> _Product:
    path = folder / f"{'x'.join(map(str, size))}.onnx"
    write_product(path, precision, size)
    ort = cast("Any", import_module("onnxruntime"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    rows: NDArray[np.generic] = (
        random.standard_normal(size[:2], dtype=np.float32)
        if precision == "fp32"
        else random.integers(0, 256, size[:2], dtype=np.uint8)
    )
    return _Product(session, rows, 2 * size[0] * size[1] * size[2])
