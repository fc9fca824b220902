"""A whole run: read, hold out, mine, ask the teacher, judge, train, write, judge again. Every part can be taken up."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rerankd.assembly import make_loader, open_access
from rerankd.errors import InvalidRequest
from rerankd.evaluation import sets
from rerankd.evaluation.judged import JudgedQuery
from rerankd.evaluation.statistics import Difference
from rerankd.families.late_interaction import FAMILY
from rerankd.models.loader import take_snapshot
from rerankd.registry.obtain import obtain
from rerankd.registry.resolve import resolve
from rerankd.settings import Settings
from rerankd.training import lists, mining, report, teacher
from rerankd.training.calibration import Calibration, fit, softened
from rerankd.training.lists import TrainingList
from rerankd.training.plan import Plan, Tell, Trained

_CANDIDATES = 20
_PATIENCE_S = 3600.0
_BUNDLED = "rerankd-zh-en"
_MOST_HELD = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained on what, and where it goes.

    `start` is a model's name or folder, "" for the bundled model. `mine` says who finds negatives: "model", "bm25" or
    "none". `teacher` is a server's address, or a model's name or folder.
    """

    data: Path
    out: Path
    start: str = ""
    judged_on: Path | None = None
    held_share: float = 0.1
    mine: str = "model"
    teacher: str = ""
    teacher_key: str | None = None
    number_format: str = "int8"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run achieved."""

    folder: Path
    before: dict[str, float]
    after: dict[str, float]
    bm25: dict[str, float]
    gain: Difference
    trained: Trained
    held: int


def run(task: Task, plan: Plan, tell: Tell, *, fresh: bool = False, settings: Settings | None = None) -> Outcome:
    """Train a model; the same command again goes on where it was interrupted, and starts over with `fresh`.

    `settings` say where models are fetched from and kept.

    Raises:
        InvalidRequest: the data are wrong, or `out` holds something else.
        ConfigError, ModelLoadError: the start or the teacher cannot be loaded.
    """
    settings = _patient(settings or Settings())
    start, late = _start(task.start, settings)
    data, held = _held_out(task, plan)
    work = _workplace(task, plan, fresh=fresh)
    job = _Job(task, plan, start, work, work / "model", tell, settings)
    job.folder.mkdir(exist_ok=True)
    prepared = _prepared(job, data)
    bm25, before = report.measured(held, None), _judge(job, start, held, "before")
    trained, notes = (_train_late if late else _train_cross)(job, prepared, held)
    after = _judge(job, str(job.folder.resolve()), held, "after")
    gain = report.difference(after, before)
    rows = {"BM25": report.means(bm25), "before": report.means(before), "after": report.means(after)}
    sizes = {"training queries": len(prepared), "documents": len(data.documents), "held-out queries": len(held)}
    text = report.card(
        task.out.name, start=task.start or _BUNDLED, data=data.name, sizes=sizes, plan=plan, trained=trained,
        rows=rows, gain=gain, notes=notes,
    )  # fmt: skip
    (job.folder / "README.md").write_text(text, "utf-8")
    _move(job.folder, task.out)
    shutil.rmtree(work)
    return Outcome(task.out, rows["before"], rows["after"], rows["BM25"], gain, trained, len(held))


@dataclass(frozen=True, slots=True)
class _Job:
    """What every part of a run needs to know; `folder` is where the model is written before it gets its name."""

    task: Task
    plan: Plan
    start: str
    work: Path
    folder: Path
    tell: Tell
    settings: Settings


def _held_out(task: Task, plan: Plan) -> tuple[lists.TrainingData, tuple[JudgedQuery, ...]]:
    data = lists.read(task.data)
    if task.judged_on is None:
        data, kept_back = lists.split(data, task.held_share, _MOST_HELD, plan.seed)
        return data, mining.judged(kept_back, data.documents, _CANDIDATES)
    held = tuple(sets.load(task.judged_on, limit=_MOST_HELD, top_k=_CANDIDATES).queries)
    if not held:
        raise InvalidRequest("there are no held-out queries to judge on")
    return data, held


def _patient(settings: Settings) -> Settings:
    """Let long lists and slow models take their time, and keep no scores: every list is scored once."""
    limits = settings.limits.model_copy(update={"deadline_s": _PATIENCE_S, "max_documents": 1 << 20})
    return settings.model_copy(update={"limits": limits, "cache": settings.cache.model_copy(update={"url": "off://"})})


def _start(name: str, settings: Settings) -> tuple[str, bool]:
    """Return the folder to start from, and whether it is a late-interaction model; else it is a cross-encoder."""
    loader = make_loader(settings)
    folder = obtain(
        resolve(name or _BUNDLED), open_access(settings, loader.store), lambda _: None, prefer=loader.prefer
    )
    snapshot = take_snapshot(folder)
    return str(folder), FAMILY.recognises(snapshot)


def _workplace(task: Task, plan: Plan, *, fresh: bool) -> Path:
    """Make or find the folder of unfinished work beside the result; it belongs to one task and plan."""
    if task.out.exists() and (not task.out.is_dir() or any(task.out.iterdir())):
        raise InvalidRequest(f"{task.out.name!r} exists: name a new folder (--out), or remove it first")
    work = task.out.with_name(task.out.name + ".training")
    if fresh and work.exists():
        shutil.rmtree(work)
    asked = {**asdict(task), "teacher_key": None, **plan.as_json()}
    text = json.dumps({key: str(value) for key, value in asked.items()}, ensure_ascii=False, indent=1)
    note = work / "run.json"
    if note.exists() and note.read_text("utf-8") != text:
        raise InvalidRequest(
            f"{work.name!r} holds an unfinished run with other settings: repeat its command, or start over with --fresh"
        )
    work.mkdir(parents=True, exist_ok=True)
    _write(note, text)
    return work


def _prepared(job: _Job, data: lists.TrainingData) -> tuple[TrainingList, ...]:
    """Mine and ask the teacher once; what they found is kept beside the checkpoint."""
    file = job.work / "lists.jsonl"
    if file.exists():
        with file.open(encoding="utf-8") as rows:
            read = [json.loads(row) for row in rows]
        return tuple(
            TrainingList(one["query"], tuple(one["positives"]), tuple(one["negatives"]), tuple(one["soft"]))
            for one in read
        )
    found, count, seed = data.lists, 2 * job.plan.negatives, job.plan.seed
    watch = _watched("mining", job.tell, len(found))
    if job.task.mine == "model":
        with teacher.local(job.start, job.settings, raw=False) as score:
            found = mining.mine(data, count, score, seed=seed, watch=watch)
    elif job.task.mine == "bm25":
        found = mining.mine(data, count, None, seed=seed, watch=watch)
    if job.task.teacher:
        with _teacher(job.task, job.settings) as score:
            found = teacher.ask(_watched("asking the teacher", job.tell, len(found))(found), score)
    _write(file, "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in found))
    return found


def _teacher(task: Task, settings: Settings) -> AbstractContextManager[mining.Score]:
    if task.teacher.startswith(("http://", "https://")):
        return teacher.remote(task.teacher, task.teacher_key)
    return teacher.local(task.teacher, settings, raw=True)


def _train_late(
    job: _Job, prepared: Sequence[TrainingList], held: Sequence[JudgedQuery]
) -> tuple[Trained, Sequence[str]]:
    from rerankd.training import late, late_files

    start, checkpoint = Path(job.start), job.work / "checkpoint.pt"
    model = late_files.open_model(start)
    trained = late.train(model, lists=prepared, held=held, plan=job.plan, checkpoint=checkpoint, tell=job.tell)
    kept = Calibration(model.config.calibration.slope, model.config.calibration.bias)
    precision = "int8" if job.task.number_format == "int8" else "fp32"
    late_files.write_model(model, start, job.folder, precision, kept)
    found, note = _calibrated(job, kept, held)
    late_files.write_model(model, start, job.folder, precision, found)
    return trained, [note]


def _calibrated(job: _Job, kept: Calibration, held: Sequence[JudgedQuery]) -> tuple[Calibration, str]:
    """Fit the sigmoid anew on the held-out lists, as served; keep the old one where they give no slope above 0."""
    with teacher.local(str(job.folder.resolve()), job.settings, raw=True) as score:
        logits = np.concatenate([np.asarray(score(one.query, one.documents), np.float64) for one in held])
    relevant = np.array([gain > 0 for one in held for gain in one.gains])
    if relevant.all() or not relevant.any():
        return kept, "Probabilities were not calibrated anew: the held-out lists hold one kind of document only."
    try:
        found = fit(kept.scores(logits), softened(relevant), np.ones(len(relevant)))
    except (ArithmeticError, np.linalg.LinAlgError):
        return kept, "Probabilities were not calibrated anew: the fit did not converge."
    if found.slope <= 0:
        return kept, "Probabilities were not calibrated anew: scores and relevance do not go together."
    rounded = Calibration(round(found.slope, 4), round(found.bias, 4))
    return rounded, f"Probabilities were calibrated on {len(relevant)} held-out pairs, {relevant.mean():.0%} relevant."


def _train_cross(
    job: _Job, prepared: Sequence[TrainingList], held: Sequence[JudgedQuery]
) -> tuple[Trained, Sequence[str]]:
    from rerankd.training import cross

    pairs, checkpoints = [_as_list(one) for one in held], job.work / "checkpoints"
    trained = cross.train(
        job.start, lists=prepared, held=pairs, plan=job.plan, folder=job.folder, work=checkpoints, tell=job.tell
    )
    return trained, ["The held-out column of the curve is minus the loss of held-out pairs."]


def _as_list(one: JudgedQuery) -> TrainingList:
    by_gain = [(text, gain > 0) for text, gain in zip(one.documents, one.gains, strict=True)]
    good = tuple(text for text, relevant in by_gain if relevant)
    return TrainingList(one.query, good, tuple(text for text, relevant in by_gain if not relevant))


def _judge(job: _Job, model: str, held: Sequence[JudgedQuery], when: str) -> report.PerQuery:
    with teacher.local(model, job.settings, raw=True) as score:
        return report.measured(list(_watched(f"judging {when}", job.tell, len(held))(held)), score)


def _watched(what: str, tell: Tell, total: int) -> Any:
    """Tell of each thing as it is taken."""

    def watch(things: Iterable[Any]) -> Iterator[Any]:
        for done, thing in enumerate(things):
            tell(what, done, total)
            yield thing
        tell(what, total, total)

    return watch


def _write(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(text, "utf-8")
    part.replace(file)


def _move(folder: Path, out: Path) -> None:
    """Give the finished folder its name; an empty one there makes way."""
    if out.exists():
        out.rmdir()
    out.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(out)
