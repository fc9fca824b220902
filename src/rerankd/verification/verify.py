"""Scoring the fixed pairs with our engine and with the reference, and signing off what is near enough."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import cast

from rerankd import __version__, plugins
from rerankd.engines.base import Engine, EngineFactory, Graph
from rerankd.errors import ConfigError
from rerankd.families.base import CausalReader, Reader
from rerankd.models.loaded import LoadedModel
from rerankd.models.loader import Loader, take_snapshot
from rerankd.registry import certificates
from rerankd.registry.certificates import Certificate
from rerankd.registry.resolve import Entry
from rerankd.types import Pair
from rerankd.verification import reference
from rerankd.verification.pairs import VerificationPair, pairs

_TOLERANCES: Mapping[str, float] = {"fp32": 1e-4, "fp16": 0.01, "bf16": 0.05, "int8": 0.05}
_OTHER_TOLERANCE = 0.05

Progress = Callable[[int, int], None]
"""Hears how many pairs are done, of how many."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One precision's largest difference of a score from the reference's, and the pair that shows it."""

    engine: str
    precision: str
    max_abs_diff: float
    tolerance: float
    worst: str

    @property
    def near(self) -> bool:
        """Whether it is within the tolerance."""
        return self.max_abs_diff <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found. The first difference is that of the model as it would be served; it is signed if it is near.

    Where that is in int8 the second is that of the same model in fp32, which has a certificate of its own.
    """

    model: str
    reference: str
    pairs: int
    differences: Sequence[Difference]
    certificate: Certificate | None


def verify(entry: Entry, loader: Loader, *, precisions: Sequence[str] = (), progress: Progress) -> Verification:
    """Compare the model as it would be served, where that is in int8 in fp32 too, and beside it on the torch engine

    in `precisions`.

    Raises:
        ModelLoadError, ConfigError: it cannot be loaded, has no reference, or the packages are missing.
    """
    with ExitStack() as stack:
        model = loader.load(entry, lambda _: None)
        stack.callback(model.engine.close)
        ours = [model]
        if model.info.precision == "int8":
            exact = replace(loader, precision="fp32").load(entry, lambda _: None)
            stack.callback(exact.engine.close)
            ours += [exact] if exact.info.precision != "int8" else []  # it may ship in int8 alone
        return _verify(ours, loader, precisions, progress)


def _verify(ours: Sequence[LoadedModel], loader: Loader, precisions: Sequence[str], progress: Progress) -> Verification:
    model = ours[0]
    info = model.info
    if model.folder is None:
        raise ConfigError(f"model {info.id!r} has no files of its own to compare")
    snapshot = take_snapshot(model.folder)
    judge = reference.load(info.family, snapshot, model.reader)
    chosen = [(one, one.pair(info.max_tokens)) for one in pairs()]
    total = len(chosen) * (1 + len(ours) + len(precisions))
    done = iter(range(1, total + 1))
    truth: list[float] = []
    for _, pair in chosen:
        truth.append(judge.score(pair))
        progress(next(done), total)
    found: list[Difference] = []
    for engine, name, precision in _engines(ours, precisions):
        scores: list[float] = []
        for _, pair in chosen:
            scores.append(_score(model.reader, engine, pair))
            progress(next(done), total)
        found.append(_difference(name, precision, scores, truth, [one for one, _ in chosen]))
    scored = [pair for _, pair in chosen]
    signed = [_certify(one, loader, gap, judge.name, scored) for one, gap in zip(ours, found, strict=False)]
    return Verification(info.id, judge.name, len(chosen), found, signed[0])


def _engines(ours: Sequence[LoadedModel], precisions: Sequence[str]) -> Iterator[tuple[Engine, str, str]]:
    for one in ours:
        yield one.engine, one.info.engine, one.info.precision
    model = ours[0]
    factory = cast("EngineFactory", plugins.load("engines", "torch"))
    for precision in precisions:
        assert model.folder is not None
        answers = model.reader.answers if isinstance(model.reader, CausalReader) else ()
        engine = factory.open(Graph(model.folder, precision, "weights", answers))
        try:
            yield engine, "torch", precision
        finally:
            engine.close()


def _score(reader: Reader, engine: Engine, pair: Pair) -> float:
    work = reader.read(pair.query, [pair.document])
    return float(reader.activate(work.score(engine.run(work.encodings)))[0])


def _difference(
    engine: str, precision: str, scores: Sequence[float], truth: Sequence[float], kinds: Sequence[VerificationPair]
) -> Difference:
    gaps = [abs(a - b) if math.isfinite(a) else math.inf for a, b in zip(scores, truth, strict=True)]
    worst = max(range(len(gaps)), key=gaps.__getitem__)
    tolerance = _TOLERANCES.get(precision, _OTHER_TOLERANCE)
    return Difference(engine, precision, gaps[worst], tolerance, kinds[worst].kind)


def _certify(
    model: LoadedModel, loader: Loader, served: Difference, judge: str, scored: Sequence[Pair]
) -> Certificate | None:
    """Sign and store; None, and nothing is written, where the scores are too far apart."""
    if not served.near or model.folder is None:
        return None
    info = model.info
    versions = {"rerankd": __version__, info.engine: certificates.engine_version(info.engine)}
    versions |= {name: version(name) for name in ("sentence-transformers", "transformers", "tokenizers", "numpy")}
    certificate = Certificate(
        model=info.id,
        fingerprint=info.fingerprint,
        family=info.family,
        engine=info.engine,
        precision=info.precision,
        score_type=info.score_type.value,
        reference=judge,
        pairs=len(scored),
        max_abs_diff=served.max_abs_diff,
        tolerance=served.tolerance,
        hashes=_hashes(model, loader, scored),
        versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    certificates.write(loader.store.root, certificate)
    return certificate


def _hashes(model: LoadedModel, loader: Loader, scored: Sequence[Pair]) -> Mapping[str, str]:
    assert model.folder is not None
    template = hashlib.sha256()
    for pair in scored:
        for encoding in model.reader.read(pair.query, [pair.document]).encodings:
            template.update(encoding.ids.tobytes() + encoding.type_ids.tobytes())
    patterns = {"weights": "*.safetensors", "tokenizer": "tokenizer*.json", "config": "config.json"}
    files = {name: sorted(model.folder.glob(pattern)) for name, pattern in patterns.items()}
    return {**{name: loader.store.digest(found) for name, found in files.items()}, "template": template.hexdigest()}
