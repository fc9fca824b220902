"""Train a late-interaction encoder after another one: token states, means, the scores of lists, and labels.

The other one is larger (distillation), or it is the start itself, which holds the trained one near (fine-tuning).

The same seed and data give the same steps wherever a run was interrupted: the data of a step depend on its number
alone, and a checkpoint holds everything else (weights, their average, the optimiser). Nothing depends on the clock.
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import click
import torch
from lists import Corpus, Step, read_corpus
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax
from tqdm import tqdm

from rerankd.families.late_interaction import LateInteractionConfig
from rerankd.training.encoder import Encoder, Shape
from rerankd.training.late_interaction import LateInteraction, TextStates, means
from rerankd.training.trainee import Trainee, frozen

HERE = Path(__file__).parent
HELD_STEPS = 12


@click.command()
@click.option("--teacher", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the teacher.")
@click.option("--start", type=click.Path(path_type=Path, exists=True), required=True, help="Folder to start from.")
@click.option(
    "--train", type=click.Path(path_type=Path, exists=True), required=True, multiple=True, help="Training sets."
)
@click.option("--texts", type=click.Path(path_type=Path, exists=True), multiple=True, help="Loose texts (JSONL, gz).")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Checkpoint, log and snapshots go here.")
@click.option("--steps", default=4000, show_default=True)
@click.option("--decay-from", default=0, show_default=True, help="Step after which the rate falls to 0; 0: never.")
@click.option("--rate", default=3e-4, show_default=True)
@click.option("--warmup", default=50, show_default=True)
@click.option("--label-weight", default=0.0, show_default=True, help="Share of the label in the target of the lists.")
@click.option("--score-weight", default=1.0, show_default=True, help="Weight of the lists' loss against the states'.")
@click.option("--state-weight", default=1.0, show_default=True)
@click.option(
    "--frozen-layers", default=0, show_default=True, help="So many of the lowest layers stay those of the teacher."
)
@click.option("--queries", default=4, show_default=True, help="Lists in a step.")
@click.option("--negatives", default=4, show_default=True)
@click.option("--loose", default=1, show_default=True, help="Loose texts in a step.")
@click.option("--max-tokens", default=384, show_default=True)
@click.option("--average", default=0.995, show_default=True, help="Decay of the average of the weights.")
@click.option("--save-every", default=50, show_default=True)
@click.option("--check-every", default=200, show_default=True)
@click.option("--snapshot-every", default=1000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--bf16/--fp32", default=True, show_default=True)
@click.option("--tag", help="Says which run it is in a list of processes; nothing else.")
def main(
    *,
    teacher: Path,
    start: Path,
    train: Sequence[Path],
    texts: Sequence[Path],
    out: Path,
    steps: int,
    decay_from: int,
    rate: float,
    warmup: int,
    label_weight: float,
    score_weight: float,
    state_weight: float,
    frozen_layers: int,
    queries: int,
    negatives: int,
    loose: int,
    max_tokens: int,
    average: float,
    save_every: int,
    check_every: int,
    snapshot_every: int,
    seed: int,
    bf16: bool,
    tag: str | None,
) -> None:
    """Train, or go on where the checkpoint in `--out` stands."""
    del tag
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    out.mkdir(parents=True, exist_ok=True)
    kind = torch.bfloat16 if bf16 else torch.float32
    large, small = open_model(teacher).to(device, kind), open_model(start).to(device)
    share(large, small, frozen_layers)
    run = Run(small, kind, average, out)
    done = run.resume()
    taken, held = read_corpus(train, texts)
    goal = Goal(large, max_tokens, label_weight, score_weight, state_weight)
    if done == 0:
        run.log({"step": 0, **_check(goal, run, held, seed)})
    for number in tqdm(range(done, steps), initial=done, total=steps, disable=None):
        step = taken.step(number, seed=seed, queries=queries, negatives=negatives, texts=loose)
        found = run.step(goal, step, _rate(number, rate, warmup, decay_from, steps))
        last = number + 1 == steps
        if (number + 1) % 20 == 0:
            run.log({"step": number + 1, **found})
        if (number + 1) % check_every == 0 or last:
            run.log({"step": number + 1, **_check(goal, run, held, seed)})
        if (number + 1) % save_every == 0 or last:
            run.save(number + 1)
        if (number + 1) % snapshot_every == 0 or last:
            run.snapshot(start, out / f"step-{number + 1}")


def open_model(folder: Path) -> LateInteraction:
    """Open weights, tokenizer and the definition of the score, in fp32."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    encoder = Encoder(Shape(**{field.name: config[field.name] for field in fields(Shape)}))
    encoder.load_state_dict({name: one.float() for name, one in load_file(folder / "model.safetensors").items()})
    section = json.loads((HERE / "config.json").read_text("utf-8"))["late_interaction"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return LateInteraction(encoder, tokenizer, LateInteractionConfig.model_validate(section))


def share(teacher: LateInteraction, student: LateInteraction, count: int) -> None:
    """Keep the student's lowest layers as they are, and let the teacher take their states up instead of its own."""
    if not count:
        return
    own, others = _layers(student), _layers(teacher)
    frozen(parameter for layer in own[:count] for parameter in layer.parameters())
    recalled = _Recalled()
    own[count - 1].register_forward_hook(recalled.remember)
    teacher.encoder.encoder["layer"] = nn.ModuleList([recalled, *others[count:]])


class _Recalled(nn.Module):
    """Gives the states that another network has just made of the same texts."""

    def remember(self, module: nn.Module, inputs: object, states: Tensor) -> None:
        """Keep states; a hook of the layer that makes them."""
        del module, inputs
        self._states = states.detach()

    def forward(self, states: Tensor, blocks: object) -> Tensor:
        del states, blocks
        return self._states


def _layers(model: LateInteraction) -> list[nn.Module]:
    return list(model.encoder.encoder["layer"].children())


class Goal:
    """What the small model is to match: the large one's states and scores, and the labels if they count."""

    def __init__(
        self,
        teacher: LateInteraction,
        max_tokens: int,
        label_weight: float,
        score_weight: float,
        state_weight: float,
    ) -> None:
        self.teacher = teacher
        self.max_tokens = max_tokens
        self.label_weight = label_weight
        self.score_weight = score_weight
        self.state_weight = state_weight

    def losses(self, student: LateInteraction, step: Step) -> dict[str, Tensor]:
        """Compute each part of the loss; `total` is what the gradient is of."""
        got = self._encode(student, step)
        with torch.no_grad():
            wanted = self._encode(self.teacher, step)  # after the student: it may take up the student's lower layers
        tokens_off = 1 - cosine_similarity(_joined(got), _joined(wanted), dim=-1).mean()
        centre, wanted_centre = means(got), means(wanted)
        means_off = 1 - (centre * wanted_centre).sum(dim=1).mean()
        geometry = ((centre @ centre.T - wanted_centre @ wanted_centre.T) ** 2).mean()
        asked, offered = len(step.queries), sum(len(one) for one in step.documents)
        scores = student.scores(got[:asked], got[asked : asked + offered])
        with torch.no_grad():
            target = self.teacher.scores(wanted[:asked], wanted[asked : asked + offered]).softmax(dim=1)
        relevant, own = _places(step, scores.device)
        label = torch.nn.functional.one_hot(relevant, offered).to(target.dtype)
        mixed = (1 - self.label_weight) * target + self.label_weight * label
        lists = kl_div(log_softmax(scores, dim=1), mixed, reduction="batchmean")
        states = 10 * means_off + 4 * tokens_off + 100 * geometry
        ranked = scores.masked_fill(~own, -torch.inf)
        ahead = (ranked > ranked.gather(1, relevant[:, None])).sum(dim=1)
        return {
            "total": self.state_weight * states + self.score_weight * lists,
            "token_cosine": 1 - tokens_off,
            "mean_cosine": 1 - means_off,
            "lists": lists,
            "label": -log_softmax(scores, dim=1).gather(1, relevant[:, None]).mean(),
            "mrr": (1 / (ahead + 1)).mean(),
        }

    def _encode(self, model: LateInteraction, step: Step) -> list[TextStates]:
        documents = [text for one in step.documents for text in one] + list(step.texts)
        asked, offered = model.encode(step.queries, documents, self.max_tokens)
        return [*asked, *offered]


class Run:
    """A student in training, and the files of its run."""

    def __init__(self, model: LateInteraction, kind: torch.dtype, average: float, out: Path) -> None:
        self.model = model
        self.out = out
        self.start = {name: one.detach().clone() for name, one in model.encoder.state_dict().items()}
        frozen(model.encoder.embeddings.parameters())
        self.trainee = Trainee(model.encoder, kind, average=average)

    def step(self, goal: Goal, step: Step, rate: float) -> dict[str, float]:
        """Take one step; return what it measured before."""
        losses = goal.losses(self.model, step)
        self.trainee.step(losses["total"], rate)
        return {name: round(float(value.detach()), 4) for name, value in losses.items()} | {"rate": rate}

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the steps done."""
        file = self.out / "checkpoint.pt"
        return int(self.trainee.load(file)["step"]) if file.exists() else 0

    def save(self, step: int) -> None:
        """Write the checkpoint."""
        self.trainee.save(self.out / "checkpoint.pt", step=step)

    def snapshot(self, start: Path, folder: Path) -> None:
        """Write the averaged weights as a folder that this script, the build and transformers open."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = self.start | self.trainee.averaged
        # Half precision keeps 11 bits; the shipped matrices keep 7.
        save_file({name: one.half().cpu().contiguous() for name, one in tensors.items()}, folder / "model.safetensors")
        for name in ("config.json", "tokenizer.json"):
            (folder / name).write_bytes((start / name).read_bytes())

    def log(self, row: dict[str, float]) -> None:
        """Append one line to the log."""
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def _check(goal: Goal, run: Run, held: Corpus, seed: int) -> dict[str, float]:
    """Measure the averaged weights on lists that no step trains on."""
    found: list[dict[str, float]] = []
    run.trainee.put(run.trainee.averaged)
    with torch.no_grad():
        for number in range(HELD_STEPS):
            step = held.step(number, seed=seed + 1000, queries=8, negatives=5, texts=0)
            found.append({name: float(value) for name, value in goal.losses(run.model, step).items()})
    run.trainee.put(run.trainee.weights)
    return {f"held_{name}": round(sum(one[name] for one in found) / len(found), 4) for name in found[0]}


def _rate(step: int, rate: float, warmup: int, decay_from: int, steps: int) -> float:
    """Warm up, stay, and fall to 0 at the last step if asked to."""
    rising = min(1.0, (step + 1) / warmup)
    if not decay_from or step < decay_from:
        return rate * rising
    return rate * rising * max(0.0, (steps - step) / (steps - decay_from))


def _joined(texts: Sequence[TextStates]) -> Tensor:
    return torch.cat([text.tokens for text in texts])


def _places(step: Step, device: torch.device) -> tuple[Tensor, Tensor]:
    """Say where each query's relevant document stands, and which documents are of its own list."""
    sizes = [len(one) for one in step.documents]
    relevant = torch.tensor([sum(sizes[:place]) for place in range(len(sizes))], device=device)
    owners = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(device)
    return relevant, owners[None, :] == torch.arange(len(sizes), device=device)[:, None]


if __name__ == "__main__":
    main()
