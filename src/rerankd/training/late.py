"""Trains a late-interaction model on lists: each relevant document against its negatives and the rest of the step."""

import random
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from rerankd.evaluation import metrics
from rerankd.evaluation.judged import JudgedQuery
from rerankd.training.late_interaction import LateInteraction, TextStates
from rerankd.training.lists import TrainingList
from rerankd.training.plan import Check, Plan, Tell, Trained
from rerankd.training.trainee import Trainee, copied, frozen, triangle

_WARMUP_SHARE = 0.1
_ENCODED_AT_ONCE = 64


def train(
    model: LateInteraction,
    *,
    lists: Sequence[TrainingList],
    held: Sequence[JudgedQuery],
    plan: Plan,
    checkpoint: Path,
    tell: Tell,
) -> Trained:
    """Train, or go on from the checkpoint; the model then holds the weights that judged the held-out queries best.

    Word and position tables stay as they are: they are most of the weights, and few of their rows would be seen.
    """
    frozen(model.encoder.embeddings.parameters())
    trainee = Trainee(model.encoder.to(plan.device), torch.bfloat16 if plan.precision == "bf16" else torch.float32)
    steps = plan.epochs * -(-len(lists) // plan.queries)
    run = _Run(model, trainee, held, checkpoint)
    if checkpoint.exists():
        run.resume()
    else:
        run.check(0, tell)
    while run.step < steps and run.since_best < plan.patience:
        tell("training", run.step, steps)
        loss = _loss(model, _drawn(lists, plan, run.step), plan)
        trainee.step(loss, triangle(run.step, steps, plan.rate, round(steps * _WARMUP_SHARE)))
        run.step += 1
        if run.step % plan.check_steps == 0 or run.step == steps:
            run.check(run.step, tell)
    tell("training", steps, steps)
    trainee.put(run.best)
    return Trained(tuple(run.checks), run.best_step, run.step, stopped_early=run.step < steps)


class _Run:
    """Where a run stands, and its file."""

    def __init__(self, model: LateInteraction, trainee: Trainee, held: Sequence[JudgedQuery], checkpoint: Path) -> None:
        self.step = 0
        self.since_best = 0
        self.best_step = 0
        self.checks: list[Check] = []
        self.best = copied(trainee.weights)
        self._model = model
        self._trainee = trainee
        self._held = held
        self._checkpoint = checkpoint

    def check(self, step: int, tell: Tell) -> None:
        """Judge the held-out queries, remember the best weights, and write the checkpoint."""
        found = Check(step, judge(self._model, self._held, tell))
        best = max((one.ndcg for one in self.checks), default=-1.0)
        self.checks.append(found)
        self.since_best += 1
        if found.ndcg > best:
            self.best, self.best_step, self.since_best = copied(self._trainee.weights), step, 0
        checks = [list(astuple(one)) for one in self.checks]
        numbers = {"step": step, "since_best": self.since_best, "best_step": self.best_step}
        self._trainee.save(self._checkpoint, best=self.best, checks=checks, **numbers)

    def resume(self) -> None:
        """Go on where the checkpoint stands."""
        kept: dict[str, Any] = self._trainee.load(self._checkpoint)
        self.step, self.since_best, self.best_step = kept["step"], kept["since_best"], kept["best_step"]
        self.checks = [Check(int(step), float(ndcg)) for step, ndcg in kept["checks"]]
        self.best = kept["best"]


def judge(model: LateInteraction, held: Sequence[JudgedQuery], tell: Tell) -> float:
    """Return the mean nDCG@10 of held-out lists. Every document is encoded once, with the model's own limit."""
    texts = sorted({text for one in held for text in one.documents}, key=len)
    known: dict[str, TextStates] = {}
    total = 0.0
    with torch.no_grad():
        for first in range(0, len(texts), _ENCODED_AT_ONCE):
            tell("judging", first, len(texts))
            some = texts[first : first + _ENCODED_AT_ONCE]
            known |= dict(zip(some, model.encode([], some, model.config.max_tokens)[1], strict=True))
        for one in held:
            asked, _ = model.encode([one.query], [], model.config.max_tokens)
            scores = model.scores(asked, [known[text] for text in one.documents])[0]
            total += metrics.of_query(one, cast("list[float]", scores.tolist()), (metrics.NDCG_10,))[0]
    tell("judging", len(texts), len(texts))
    return total / len(held)


def _drawn(lists: Sequence[TrainingList], plan: Plan, step: int) -> list[TrainingList]:
    """Draw a step, the same one for the same number: each epoch takes every list once, in an order of its own."""
    per_epoch = -(-len(lists) // plan.queries)
    epoch, place = divmod(step, per_epoch)
    order = list(range(len(lists)))
    random.Random(f"{plan.seed}:{epoch}").shuffle(order)  # noqa: S311 - repeatable, not secret
    rng = random.Random(f"{plan.seed}:{epoch}:{place}")  # noqa: S311
    chosen = order[place * plan.queries : (place + 1) * plan.queries]
    return [_shortened(lists[index], plan, rng) for index in chosen]


def _shortened(one: TrainingList, plan: Plan, rng: random.Random) -> TrainingList:
    """Take one relevant document and some negatives; the relevant one comes first."""
    good = rng.randrange(len(one.positives))
    bad = rng.sample(range(len(one.negatives)), min(plan.negatives, len(one.negatives)))
    soft = (
        tuple(one.soft[place] for place in (good, *(len(one.positives) + place for place in bad))) if one.soft else ()
    )
    known = (one.positives[good], *(text for text in one.positives if text != one.positives[good]))
    return TrainingList(one.query, known, tuple(one.negatives[place] for place in bad), soft)


def _loss(model: LateInteraction, step: Sequence[TrainingList], plan: Plan) -> Tensor:
    """Cross-entropy of the relevant document among all of the step's; with a teacher, mixed with its opinion of a list.

    Other queries' documents are negatives too, unless the query knows them as relevant.
    """
    places: dict[str, int] = {}
    for one in step:
        for text in (one.positives[0], *one.negatives):
            places.setdefault(text, len(places))
    asked, offered = model.encode([one.query for one in step], list(places), plan.max_tokens)
    scores = model.scores(asked, offered)
    total = scores.new_zeros(())
    for row, one in zip(scores, step, strict=True):
        right = places[one.positives[0]]
        also = [places[text] for text in one.positives[1:] if text in places]
        loss = -log_softmax(row.index_fill(0, torch.tensor(also, device=row.device, dtype=torch.long), -torch.inf), 0)
        total = total + (1 - plan.soft_weight if one.soft else 1.0) * loss[right]
        if one.soft:
            own = torch.tensor([right, *(places[text] for text in one.negatives)], device=row.device)
            wanted = torch.tensor(one.soft, device=row.device).softmax(0)
            total = total + plan.soft_weight * kl_div(log_softmax(row[own], 0), wanted, reduction="sum")
    return total / len(step)
