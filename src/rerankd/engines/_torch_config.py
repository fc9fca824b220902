"""Numbers and words of `config.json`, read with the bounds the torch networks rely on."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch.nn import functional

from rerankd.errors import UnsupportedModel
from rerankd.types import JsonValue

Config = Mapping[str, JsonValue]
Activation = Callable[[torch.Tensor], torch.Tensor]

_TANH_GELU: Activation = partial(functional.gelu, approximate="tanh")
_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": functional.gelu,
    "gelu_python": functional.gelu,
    "gelu_new": _TANH_GELU,
    "gelu_fast": _TANH_GELU,
    "gelu_pytorch_tanh": _TANH_GELU,
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
}


def integer(config: Config, name: str, default: int | None = None, *, least: int = 1) -> int:
    """Read a whole number.

    Raises:
        UnsupportedModel: it is missing without a default, no number, or too small.
    """
    value = config.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no number of at least {least}")
    return value


def number(config: Config, name: str, default: float) -> float:
    """Read a number of at least 0.

    Raises:
        UnsupportedModel: it is none.
    """
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no positive number")
    return float(value)


def activation(name: JsonValue) -> Activation:
    """Find an activation by transformers' name (transformers/activations.py).

    Raises:
        UnsupportedModel: it is not one of those built here.
    """
    found = _ACTIVATIONS.get(name) if isinstance(name, str) else None
    if found is None:
        raise UnsupportedModel(f"the activation {name!r} cannot be computed: only {', '.join(_ACTIVATIONS)} can")
    return found
