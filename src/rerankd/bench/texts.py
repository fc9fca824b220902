"""How a model's family reads a request: which sequences the network will run, found without running it."""

from collections.abc import Sequence

from rerankd.assembly import open_access
from rerankd.bench.flops import LayerShape, layer_shape
from rerankd.bench.requests import BenchRequest
from rerankd.families.base import Reader
from rerankd.models.loader import recognise, take_snapshot
from rerankd.registry.obtain import obtain
from rerankd.registry.resolve import resolve
from rerankd.registry.store import Store
from rerankd.settings import Settings


class ModelTexts:
    """A model's tokenizer and the shape of its layers. `shape` is None where its operations are not known here."""

    def __init__(self, reader: Reader, shape: LayerShape | None) -> None:
        self._reader = reader
        self.shape = shape

    def lengths(self, request: BenchRequest) -> Sequence[int]:
        """Return the tokens of each sequence that the request needs, special ones included.

        A cross-encoder reads every pair; a late-interaction model reads the query once and each document once. A
        document that stands twice in a request is read once.
        """
        return [encoding.tokens for encoding in self._reader.read(request.query, _once(request)).encodings]

    def count(self, text: str) -> int:
        """Return the tokens of a document, and a constant number for what stands around it."""
        return self._reader.read("", [text]).tokens[0]


def open_texts(model: str, *, max_tokens: int | None = None, settings: Settings | None = None) -> ModelTexts:
    """Open a model's files by its name or folder, as the loader does; nothing is kept between requests.

    `settings` say where models are kept and fetched from, by default as without a settings file.

    Raises:
        ConfigError, ModelLoadError: there is no such model, or it is none that can be read.
    """
    settings = settings or Settings()
    entry = resolve(model)
    access = open_access(settings, Store(settings.models.store))
    snapshot = take_snapshot(obtain(entry, access, lambda _: None, prefer=settings.models.first_hub))
    _, family = recognise(snapshot, entry.card.family if entry.card else "")
    reader = family.open(snapshot, max_tokens=max_tokens, cache_bytes=0)
    return ModelTexts(reader, layer_shape(snapshot.config))


def _once(request: BenchRequest) -> Sequence[str]:
    return list(dict.fromkeys(request.documents))
