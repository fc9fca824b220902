"""Trains a cross-encoder with sentence-transformers' own trainer, which checkpoints, resumes and stops early itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rerankd.errors import UnsupportedModel
from rerankd.training.lists import TrainingList
from rerankd.training.plan import Check, Plan, Tell, Trained

_WARMUP_SHARE = 0.1


def train(
    start: str,
    *,
    lists: Sequence[TrainingList],
    held: Sequence[TrainingList],
    plan: Plan,
    folder: Path,
    work: Path,
    tell: Tell,
) -> Trained:
    """Train on pairs with labels (a teacher's probabilities mixed in), and save the best model into `folder`.

    The loss is binary cross-entropy, so that scores stay probabilities; the model with the least loss on the held-out
    pairs is kept. A run that was interrupted goes on from its last checkpoint in `work`.

    Raises:
        UnsupportedModel: the model cannot be opened as a cross-encoder.
    """
    from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed
    from transformers.trainer_utils import get_last_checkpoint  # pyright: ignore[reportUnknownVariableType]
    from transformers.utils import logging

    logging.disable_progress_bar()
    set_seed(plan.seed)
    work.mkdir(parents=True, exist_ok=True)
    try:
        model = CrossEncoder(start, num_labels=1, device=plan.device, max_length=plan.max_tokens)
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{Path(start).name!r} cannot be opened as a cross-encoder: {error}") from error
    training, judging = _pairs(lists, plan), _pairs(held, plan)
    last = cast("str | None", cast("Any", get_last_checkpoint)(str(work)))
    trainer = CrossEncoderTrainer(
        model=model,
        args=_arguments(plan, work, len(training)),
        train_dataset=training,
        eval_dataset=judging,
        loss=BinaryCrossEntropyLoss(model),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=plan.patience), _telling(tell)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints to standard output
    trainer.train(resume_from_checkpoint=last)
    model.save_pretrained(str(folder))
    return _told(trainer.state)


def _told(state: Any) -> Trained:
    checks = tuple(Check(int(row["step"]), -row["eval_loss"]) for row in state.log_history if "eval_loss" in row)
    best = max(checks, key=lambda one: one.ndcg, default=Check(0, 0.0))
    steps = int(state.global_step)
    return Trained(checks, best.step, steps, stopped_early=steps < int(state.max_steps))


def _arguments(plan: Plan, work: Path, pairs: int) -> Any:
    from sentence_transformers.cross_encoder import CrossEncoderTrainingArguments

    batch = plan.queries * 2
    steps = plan.epochs * -(-pairs // batch)
    every = min(plan.check_steps, max(1, steps))
    return CrossEncoderTrainingArguments(
        output_dir=str(work),
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=batch,
        learning_rate=plan.rate,
        warmup_steps=round(steps * _WARMUP_SHARE),
        seed=plan.seed,
        data_seed=plan.seed,
        bf16=plan.precision == "bf16",
        use_cpu=plan.device == "cpu",
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _pairs(lists: Sequence[TrainingList], plan: Plan) -> Any:
    """Make a table of pairs: a query, a document, and how relevant it is, from 0 to 1."""
    from datasets import Dataset

    table: dict[str, list[Any]] = {"query": [], "document": [], "label": []}
    for one in lists:
        documents = (*one.positives, *one.negatives[: plan.negatives])
        for place, document in enumerate(documents):
            label = float(place < len(one.positives))
            if one.soft:
                label += plan.soft_weight * (_sigmoid(one.soft[place]) - label)
            for name, value in zip(table, (one.query, document, label), strict=True):
                table[name].append(value)
    return Dataset.from_dict(table)


def _sigmoid(logit: float) -> float:
    from math import exp

    return 1 / (1 + exp(-max(-700.0, min(700.0, logit))))


def _telling(tell: Tell) -> Any:
    from transformers import TrainerCallback

    class Telling(TrainerCallback):
        """Passes every step on."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del args, control
            tell("training", int(state.global_step), int(state.max_steps))

    return Telling()
