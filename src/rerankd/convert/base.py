"""What an architecture's module offers: its limits, its body as operators, and the head its classifiers have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rerankd.convert.layers import LayerWriter
from rerankd.convert.weights import Weights

Pooling = Literal["cls", "mean", "max"]
POOLINGS: Sequence[Pooling] = ("cls", "mean", "max")


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer by its tensors' full name, its bias added if there is one, then an activation ("" for none).

    Where `around` is not "", what went in is added at last, through the linear layer of that name if the widths differ.
    """

    name: str
    activation: str = ""
    around: str = ""


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm by its tensors' full name."""

    name: str
    epsilon: float


@dataclass(frozen=True, slots=True)
class Unit:
    """Division by the vector's length, which is taken as 1e-12 if it is less."""


@dataclass(frozen=True, slots=True)
class Head:
    """How the tokens' states become logits: pooled to one vector, then step by step."""

    steps: Sequence[Linear | Norm | Unit]
    pooling: Pooling = "cls"


class Architecture(Protocol):
    """One model's encoder, as its `config.json` describes it."""

    @property
    def max_tokens(self) -> int:
        """The longest sequence there are positions for."""
        ...

    @property
    def segments(self) -> int:
        """How many segments are told apart; 1 where segment ids change nothing."""
        ...

    @property
    def width(self) -> int:
        """The width of the hidden states."""
        ...

    def prefix(self, weights: Weights) -> str:
        """What the names of the encoder's tensors begin with, such as "bert.".

        Raises:
            UnsupportedModel: these are not the weights of such an encoder.
        """
        ...

    def head(self, weights: Weights, prefix: str) -> Head:
        """Describe the head of a sequence classifier; that its tensors exist is checked by whoever writes it."""
        ...

    def write(self, layers: LayerWriter, *, first_token_only: bool) -> str:
        """Add inputs and body to the graph and return the name of the last hidden states.

        Their shape is `(batch, tokens, width)`; with `first_token_only` it is `(batch, 1, width)`, computed without
        the last layer's work on the other tokens, which nothing would read.
        """
        ...
