"""How many multiplications and additions a network's full form takes for sequences of given lengths.

Counted are the matrix products: the linear layers and attention's QK^T and AV. Embeddings, normalisation, activations
and a classifier's head are left out: they are below a hundredth. What an engine saves (the last layer for one token
only, for example) is counted as if it were computed: saving shows as speed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rerankd.types import JsonValue

_USUAL = ("num_hidden_layers", "hidden_size", "intermediate_size")
_SIZES: Mapping[str, tuple[str, str, str]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "rerankd_late_interaction"), _USUAL),
    "distilbert": ("n_layers", "dim", "hidden_dim"),
}
"""The values of `model_type` whose layers are as in `LayerShape`, and where `config.json` has their sizes."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Layers of multi-head attention (four linear layers `width` x `width`) and a feed-forward of two linear layers."""

    layers: int
    width: int
    inner: int

    def multiply_adds(self, tokens: int) -> int:
        """Count the pairs of a multiplication and an addition for one sequence of `tokens`.

        Per layer and token 4 width^2 + 2 width inner (12 width^2 where inner is 4 width), and for QK^T and AV together
        2 tokens width.
        """
        linear = tokens * (4 * self.width**2 + 2 * self.width * self.inner)
        return self.layers * (linear + 2 * tokens**2 * self.width)

    def flops(self, lengths: Iterable[int]) -> int:
        """Count floating-point operations, two per multiply-add, for sequences run without padding."""
        return 2 * sum(self.multiply_adds(tokens) for tokens in lengths)


def layer_shape(config: Mapping[str, JsonValue]) -> LayerShape | None:
    """Read the shape from `config.json`; None where the architecture's operations are not known here."""
    names = _SIZES.get(str(config.get("model_type")), ())
    sizes = [value for name in names if isinstance(value := config.get(name), int)]
    return LayerShape(*sizes) if len(sizes) == 3 and min(sizes) > 0 else None
