"""`rerankd train`: fit a reranker to one's own data, and say what that gained."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings, say_failures_once
from rerankd.cli.output import Column, note, print_json, print_rows

if TYPE_CHECKING:
    from rerankd.training.plan import Plan, Tell
    from rerankd.training.run import Outcome

_NEEDED = ("torch", "onnx", "sentence_transformers", "accelerate", "datasets", "bm25s")
_COLUMNS = (Column("held-out queries"), Column("nDCG@10", number=True), Column("MRR@10", number=True))


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The folder to write the model to.")
@click.option("-s", "--start", default="", help="The model to start from: a name or a folder; by default the bundled.")
@click.option("--eval", "judged_on", type=click.Path(exists=True, path_type=Path),
              help="Judge on these data; by default on queries held out of DATA.")  # fmt: skip
@click.option("--held-out", type=click.FloatRange(0, 0.9, min_open=True), default=0.1, show_default=True,
              help="Share of DATA's queries to hold out, at most 200 of them.")  # fmt: skip
@click.option("--mine", type=click.Choice(["model", "bm25", "none"]), default="model", show_default=True,
              help="Who finds hard negatives among DATA's documents.")  # fmt: skip
@click.option("--teacher", default="", help="Learn from this model (a name or a folder) or server (http://…) too.")
@click.option("--teacher-key", default="", help="The teacher's API key; @FILE reads it from a file.")
@click.option("--soft-weight", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Share of the teacher's opinion against the labels.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--queries", type=click.IntRange(1), default=16, show_default=True, help="Queries in a step.")
@click.option("--negatives", type=click.IntRange(0), default=4, show_default=True, help="Negatives for each of them.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=5e-5, show_default=True, help="Learning rate.")
@click.option("--max-tokens", type=click.IntRange(16), default=256, show_default=True, help="Longer texts are cut.")
@click.option("--check-steps", type=click.IntRange(1), default=50, show_default=True,
              help="Judge and write a checkpoint every so many steps.")  # fmt: skip
@click.option("--patience", type=click.IntRange(1), default=4, show_default=True,
              help="Stop after so many checks without a better result.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
              help="What the network computes in; auto is bf16 on a GPU, else fp32.")  # fmt: skip
@click.option("--write", "number_format", type=click.Choice(["int8", "fp32"]), default="int8", show_default=True,
              help="Numbers of the written graph; cross-encoders are always fp32.")  # fmt: skip
@click.option("--fresh", is_flag=True, help="Forget an unfinished run and start over.")
@json_option
@config_option
@debug_option
@click.pass_context
def train(
    context: click.Context, *, data: Path, out: Path, start: str, judged_on: Path | None, held_out: float, mine: str,
    teacher: str, teacher_key: str, number_format: str, fresh: bool, as_json: bool, config_file: Path | None,
    **numbers: Any,
) -> None:  # fmt: skip
    """Train a reranker on DATA and judge it on queries that it has not seen.

    DATA is a BEIR folder, JSON Lines or a CSV table of queries with their relevant documents. The result is a folder
    for `rerankd serve` and `rerankd evaluate`. Interrupted, the same command goes on where it was.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise click.UsageError(f"training needs {', '.join(missing)}: pip install 'rerankd[train]'.", context)
    from rerankd.training.plan import Plan
    from rerankd.training.run import Task, run

    say_failures_once(context)
    device, precision = cast("str", numbers.pop("device")), cast("str", numbers.pop("precision"))
    plan = _placed(Plan(**numbers), device, precision)
    key = Path(teacher_key[1:]).read_text("utf-8").strip() if teacher_key.startswith("@") else teacher_key
    task = Task(data, out, start, judged_on, held_out, mine, teacher, key or None, number_format)
    with _bar() as tell:
        outcome = run(task, plan, tell, fresh=fresh, settings=load_settings(config_file).settings)
    _print(outcome, as_json=as_json)


def _placed(plan: "Plan", device: str, precision: str) -> "Plan":
    from rerankd.training.device import has_gpu

    there = has_gpu()
    if device == "cuda" and not there:
        raise click.BadParameter("there is no CUDA device, or torch was installed without CUDA.", param_hint="--device")
    found = "cuda" if device == "cuda" or (device == "auto" and there) else "cpu"
    chosen = precision if precision != "auto" else "bf16" if found == "cuda" else "fp32"
    return replace(plan, device=found, precision=cast("Any", chosen))


@contextmanager
def _bar() -> "Generator[Tell]":
    """Show progress on standard error: a bar on a terminal, else a line at the beginning of each part."""
    from tqdm import tqdm

    shown: dict[str, Any] = {}

    def tell(what: str, done: int, total: int) -> None:
        bar = shown.get(what)
        if bar is None:
            if not sys.stderr.isatty():
                if what not in shown:
                    note(f"{what}: {total}")
                    shown[what] = None
                return
            bar = shown[what] = tqdm(total=total, desc=what, file=sys.stderr, leave=False)
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            del shown[what]

    try:
        yield tell
    finally:
        for bar in shown.values():
            if bar is not None:
                bar.close()


def _print(outcome: "Outcome", *, as_json: bool) -> None:
    rows = {"BM25": outcome.bm25, "before": outcome.before, "after": outcome.after}
    if as_json:
        trained = {**asdict(outcome.trained), "checks": [asdict(one) for one in outcome.trained.checks]}
        quality = {"held_out_queries": outcome.held, **rows, "gain": asdict(outcome.gain)}
        print_json({"model": str(outcome.folder), "quality": quality, "training": trained})
        return
    print_rows(_COLUMNS, [(name, f"{row['nDCG@10']:.4f}", f"{row['MRR@10']:.4f}") for name, row in rows.items()])
    gain = outcome.gain
    note(f"nDCG@10 {gain.mean:+.4f} on {outcome.held} queries (95 %: {gain.low:+.4f} to {gain.high:+.4f})")
    if gain.low <= 0:
        note("the interval holds 0: this run does not show that the new model is better; see docs/how-to/train.md")
    note(f"serve it: rerankd serve {outcome.folder}")
