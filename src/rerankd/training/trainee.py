"""The state of a training run: weights in fp32, their average, the optimiser, and one file that holds all of it.

The network that runs is a copy of the weights in the precision of the run (bfloat16 halves the time where the machine
multiplies it); gradients go back to the fp32 weights, so small steps are not lost.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

_BETAS = (0.9, 0.98)
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0


class Trainee:
    """Trains the parameters of a network that require a gradient."""

    def __init__(self, network: nn.Module, kind: torch.dtype, *, average: float = 0.0) -> None:
        """Take the weights from a network in fp32; it runs in `kind` from now on.

        `average` is the decay of an exponential moving average of the weights; at 0 that is the weights themselves. In
        the first steps the decay is smaller, (1 + steps) / (10 + steps), so that the start is soon forgotten.
        """
        self._running = {name: one for name, one in network.named_parameters() if one.requires_grad}
        self.weights = {name: one.detach().clone() for name, one in self._running.items()}
        self.averaged = {name: one.clone() for name, one in self.weights.items()}
        self._average = average
        self._steps = 0
        network.to(kind)
        matrices = [one for one in self.weights.values() if one.ndim > 1]
        vectors = [one for one in self.weights.values() if one.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": _WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, betas=_BETAS)

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Run with these weights from now on."""
        with torch.no_grad():
            for name, one in self._running.items():
                one.copy_(weights[name])

    def step(self, loss: Tensor, rate: float) -> None:
        """Follow the gradient of a loss that was computed with `weights`, and run with the new ones."""
        cast("Any", loss).backward()
        for name, one in self._running.items():
            gradient = one.grad
            self.weights[name].grad = None if gradient is None else gradient.to(torch.float32)
            one.grad = None
        nn.utils.clip_grad_norm_(list(self.weights.values()), _LARGEST_GRADIENT)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        cast("Any", self._optimiser).step()
        self._steps += 1
        decay = min(self._average, (1 + self._steps) / (10 + self._steps))
        for name, one in self.averaged.items():
            one.lerp_(self.weights[name], 1 - decay)
        self.put(self.weights)

    def save(self, file: Path, **more: object) -> None:
        """Write everything and `more` (tensors, numbers, texts, and lists and dicts of them), whole or not at all."""
        state: dict[str, object] = {
            "weights": self.weights,
            "averaged": self.averaged,
            "optimiser": self._optimiser.state_dict(),
        }
        state |= {"steps": self._steps}
        part = file.with_name(file.name + ".part")
        with part.open("wb") as stream:
            torch.save({**state, **more}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)

    def load(self, file: Path) -> dict[str, Any]:
        """Go on from a file that `save` wrote; return what else it holds."""
        kept = cast("dict[str, Any]", torch.load(file, map_location="cpu", weights_only=True))
        _copy(self.weights, kept.pop("weights"))
        _copy(self.averaged, kept.pop("averaged"))
        self._optimiser.load_state_dict(kept.pop("optimiser"))
        self._steps = int(kept.pop("steps"))
        self.put(self.weights)
        return kept


def copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights, to keep them while the originals move on."""
    return {name: one.clone() for name, one in weights.items()}


def triangle(step: int, steps: int, rate: float, warmup: int) -> float:
    """Return the rate of a step: up to `rate` over `warmup` steps, then down to 0 at the last."""
    rising = min(1.0, (step + 1) / max(1, warmup))
    return rate * rising * (steps - step) / max(1, steps)


def frozen(parameters: Iterable[nn.Parameter]) -> None:
    """Leave these parameters as they are."""
    for one in parameters:
        one.requires_grad_(False)


def _copy(into: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, one in into.items():
            one.copy_(values[name])
