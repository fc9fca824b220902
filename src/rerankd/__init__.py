"""rerankd: the local rerank server and library.

Public names load on first use, so that `import rerankd` imports no engine and no web framework.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rerankd.client import AsyncClient, Client
    from rerankd.reranker import AsyncReranker, Reranker
    from rerankd.types import Document, Ranked, Ranking, Usage

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncReranker",
    "Client",
    "Document",
    "Ranked",
    "Ranking",
    "Reranker",
    "Usage",
    "__version__",
]

_HOMES = {
    "AsyncClient": "rerankd.client",
    "AsyncReranker": "rerankd.reranker",
    "Client": "rerankd.client",
    "Document": "rerankd.types",
    "Ranked": "rerankd.types",
    "Ranking": "rerankd.types",
    "Reranker": "rerankd.reranker",
    "Usage": "rerankd.types",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'rerankd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
