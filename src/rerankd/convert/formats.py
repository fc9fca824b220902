"""In which numbers a graph computes: how the product of states and a linear layer's weights is written."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from rerankd.convert.graph import GraphBuilder
from rerankd.convert.weights import Floats

Precision = Literal["fp32", "int8"]


class Format(Protocol):
    """Writes products of states, shape `(..., inputs)`, and weights, shape `(inputs, outputs)`."""

    @property
    def precision(self) -> Precision:
        """What callers are told."""
        ...

    @property
    def small_tables(self) -> bool:
        """Whether word tables are kept in eight bits as well."""
        ...

    def multiply(self, build: GraphBuilder, states: str, weights: Floats, stem: str) -> str:
        """Add `states @ weights` and return its name, shape `(..., outputs)`; `stem` names the layer, once a graph."""
        ...


@dataclass(frozen=True, slots=True)
class FullPrecision:
    """fp32. With `watched`, a second graph has all the states in `inputs` among its outputs, for `calibration`.

    `inputs` collects each layer's stem and the name of the states that it is given.
    """

    watched: bool = False
    inputs: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def precision(self) -> Precision:
        """Named fp32."""
        return "fp32"

    @property
    def small_tables(self) -> bool:
        """Tables stay as they are."""
        return False

    def multiply(self, build: GraphBuilder, states: str, weights: Floats, stem: str) -> str:
        """See `Format`."""
        self.inputs[stem] = states
        return build.node("MatMul", [states, build.weight(f"{stem}.weight", weights.shape, [weights])])
