"""A tiny late-interaction model with random weights, and a made-up domain whose words it does not know."""

import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rerankd.families.late_interaction import LateInteractionConfig
from rerankd.training.calibration import Calibration
from rerankd.training.encoder import Encoder, Shape
from rerankd.training.late_files import write_model
from rerankd.training.late_interaction import LateInteraction
from rerankd.types import JsonValue

SIDES = 8
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "q:", "d:", "the", "of", "page"] + [
    f"{side}{place}" for side in ("thing", "deed", "mol", "zur") for place in range(SIDES)
]
SECTION: Mapping[str, JsonValue] = {
    "similarity": "cosine",
    "max_tokens": 24,
    "special_ids": [0, 1, 2],
    "query": {"prefix": "q: ", "content_from": 2},
    "document": {"prefix": "d: ", "content_from": 2},
    "mix": {"scale": 20.0, "cosine": 0.6, "maxsim": 1.4, "bias": -1.75},
    "calibration": {"slope": 1.0, "bias": 0.0},
}


def tiny_late(folder: Path, *, seed: int = 0, precision: str = "fp32") -> Path:
    """Write a model of two layers as rerankd serves it."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = Shape(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=24,
    )  # fmt: skip
    config = {"model_type": "rerankd_late_interaction", "late_interaction": SECTION}
    sizes = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    (folder / "config.json").write_text(json.dumps({**config, **sizes}), "utf-8")
    torch.manual_seed(seed)
    model = LateInteraction(Encoder(shape), tokenizer, LateInteractionConfig.model_validate(SECTION))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    write_model(model, folder, folder, "int8" if precision == "int8" else "fp32", Calibration(1.0, 0.0))
    return folder


def domain(file: Path, *, seed: int = 0) -> Path:
    """Write queries in invented words about documents in known ones: a pair of words is seen, or held out."""
    pairs = list(itertools.product(range(SIDES), range(SIDES)))
    random.Random(seed).shuffle(pairs)
    rows = [{"query": f"mol{a} zur{b}", "positives": [f"the page of thing{a} deed{b}"]} for a, b in pairs]
    file.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return file
