"""The encoder in eight bits, as it ships, and how far its scores agree with those of fp32."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from scoring import snapshot
from tqdm import tqdm

from rerankd.convert.convert import write_encoder
from rerankd.convert.formats import Format
from rerankd.convert.quantise import SAFE_LIMIT
from rerankd.engines.base import Graph
from rerankd.engines.onnx import ENGINE
from rerankd.families.late_interaction import FAMILY
from rerankd.models.precision import make_eight_bits


def quantise(base: Path, folder: Path) -> Mapping[str, Any]:
    """Write the int8 graph beside the tokenizer and the definition; say how far its scores agree with those of fp32.

    Seven bits: one file runs everywhere, and CPUs without VNNI overflow on eight. How much faster it is, is left out:
    that is of the machine that builds it, not of the model.
    """
    reader = FAMILY.open(snapshot(folder), max_tokens=None, cache_bytes=0)

    def write(to: Path, number_format: Format) -> Graph:
        return write_encoder(snapshot(base), to, number_format)

    with tqdm(desc="int8", bar_format="{desc}") as bar:

        def say(step: str, _done: int, _of: int) -> None:
            bar.set_description_str(step)

        note = make_eight_bits(folder, write, reader, ENGINE, say, weight_limit=SAFE_LIMIT)
    if note.eight_bits is None or not note.eight_bits.agreement.passes:
        raise click.ClickException("int8 does not agree with fp32")
    facts = {name: fact for name, fact in note.eight_bits.facts().items() if name != "gain"}
    return facts | {"passes": note.eight_bits.agreement.passes}
