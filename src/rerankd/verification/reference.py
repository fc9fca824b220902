"""The reference implementation of a model, loaded to score pairs: sentence-transformers, or a published procedure."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rerankd.errors import ConfigError, UnsupportedModel
from rerankd.families.base import CausalReader, Reader, Snapshot
from rerankd.types import Pair
from rerankd.verification.causal_reference import open_reference
from rerankd.verification.translated import readable

_NEEDED = ("sentence_transformers", "torch", "transformers")
_OWN = frozenset({"late_interaction"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Who judges, by name and version, and how it scores one pair after activation."""

    name: str
    score: Callable[[Pair], float]


def load(family: str, snapshot: Snapshot, reader: Reader) -> Reference:
    """Load a model's reference in fp32 on the CPU, with the reader's limit. No code of the model's repository is run.

    Raises:
        ConfigError: the packages are not installed.
        UnsupportedModel: the family has no implementation but ours, or the reference cannot read the model.
    """
    if missing := [name for name in _NEEDED if not find_spec(name)]:
        raise ConfigError(f"{', '.join(missing)} is not installed: pip install 'rerankd[verify]'")
    if family in _OWN:
        raise UnsupportedModel(
            f"a model of family {family!r} has no implementation but this one to be compared with; where its card "
            "holds known scores, they are compared at every start"
        )
    try:
        return _causal(family, snapshot, reader) if isinstance(reader, CausalReader) else _cross(snapshot, reader)
    except (OSError, ValueError, ImportError) as error:
        raise UnsupportedModel(
            f"the reference implementation cannot load this model ({type(error).__name__})"
        ) from error


def _causal(family: str, snapshot: Snapshot, reader: Reader) -> Reference:
    try:
        procedure = open_reference(family, snapshot.folder, snapshot.config, reader.max_tokens)
    except LookupError as error:
        raise UnsupportedModel(f"no procedure of family {family!r} is written down here") from error
    name = f"transformers {version('transformers')}, published procedure of {family}"
    return Reference(name, lambda pair: procedure.score(pair.query, pair.document))


def _cross(snapshot: Snapshot, reader: Reader) -> Reference:
    library: Any = import_module("sentence_transformers")
    torch: Any = import_module("torch")
    with readable(snapshot) as given:
        _refuse_gaps(given.folder, snapshot)
        model = library.CrossEncoder(
            str(given.folder),
            device="cpu",
            local_files_only=True,
            max_length=reader.max_tokens,
            model_kwargs={"dtype": torch.float32},
        )
        given.adjust(model.model)

    def score(pair: Pair) -> float:
        return float(model.predict([(pair.query, pair.document)], show_progress_bar=False)[0])

    name = f"sentence-transformers {version('sentence-transformers')}"
    return Reference(f"{name}, {given.how}" if given.how else name, score)


def _refuse_gaps(folder: Path, snapshot: Snapshot) -> None:
    """The reference fills weights that it does not find with random numbers and only warns: that judges nobody."""
    if "modules.json" in snapshot.files:  # sentence-transformers' own form, whose head lies beside the network
        return
    automatic: Any = import_module("transformers").AutoModelForSequenceClassification
    _, told = automatic.from_pretrained(str(folder), local_files_only=True, output_loading_info=True)
    if missing := sorted(told["missing_keys"]):
        raise UnsupportedModel(
            f"the reference implementation does not know this network: it would put random numbers for {missing[0]!r} "
            f"and {len(missing) - 1} other tensors. Known scores of its card, if it has any, are compared at each load"
        )
