"""What tests of scores against a reference share: texts that break careless readers, and a model opened as served."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import tiny
from rerankd.convert.convert import convert
from rerankd.engines.base import Engine
from rerankd.engines.onnx import ENGINE
from rerankd.families.base import Reader
from rerankd.families.cross_encoder import FAMILY

TEXTS = (
    *("", " ", "\t\n  ", "hello world", "The quick brown fox", "北京是中国的首都", "密码怎么重置?", "😀🎉", "👩‍👩‍👧"),
    *("[SEP]", " [SEP] x", "<pad>", "a <pad> b", "</s>", "<mask> y", "x <mask>", "[MASK]", "[PAD] z", "<s>hi", "[CLS]"),
    *("\x00\x07control\x1b", "fox " * 100, "中文" * 80, "Über CAFÉ naïve", "a" * 300, "x\u200by", "ﬁ ﷺ ½", "é e\u0301"),
    *("  double  space ", "一 二\u3000三", "\ufffd", "\u2028line", "Berlin has 3,520,031 inhabitants.", "機器學習"),
)


@dataclass(frozen=True)
class Opened:
    folder: Path
    reader: Reader
    engine: Engine

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return np.concatenate([self._score(query, document) for query, document in pairs])

    def _score(self, query: str, document: str) -> NDArray[np.float32]:
        work = self.reader.read(query, [document])
        return self.reader.activate(work.score(self.engine.run(work.encodings)))


def open_model(folder: Path, graph: Path) -> Opened:
    source = tiny.snapshot(folder)
    assert FAMILY.recognises(source)
    reader = FAMILY.open(source, max_tokens=None, cache_bytes=0)
    return Opened(folder, reader, ENGINE.open(convert(source, graph)))


def make_pairs() -> list[tuple[str, str]]:
    """600 pairs: each text on each side, then combinations of two texts."""
    choose = random.Random(0)
    pairs = [(query, choose.choice(TEXTS)) for query in TEXTS] + [(choose.choice(TEXTS), text) for text in TEXTS]
    while len(pairs) < 600:
        query, one, other = (choose.choice(TEXTS) for _ in range(3))
        pairs.append((query, one + choose.choice(("", " ", "。")) + other))
    return pairs
