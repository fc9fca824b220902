"""Products that are on no package index: how their own files are loaded from a checkout, unmodified.

A developer names the checkouts in the environment; nothing of the products is kept here. This file is also imported
inside the clients' environments, so it needs the standard library only.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Product:
    """A product to run from a checkout: the variable that names it, the script that runs it, and where."""

    repository: str
    variable: str
    script: str
    environment: str


DIFY = Product("langgenius/dify-official-plugins", "DIFY_OFFICIAL_PLUGINS", "with_dify_plugins", "dify")
RAGFLOW = Product("infiniflow/ragflow", "RAGFLOW", "with_ragflow", "cohere5")
PRODUCTS = (DIFY, RAGFLOW)


def checkout(product: Product) -> Path:
    """Return the folder of a checkout.

    Raises:
        LookupError: the product's variable is not set.
    """
    folder = os.environ.get(product.variable)
    if not folder:
        raise LookupError(f"set {product.variable} to a checkout of {product.repository}")
    return Path(folder)


def dify_module(folder: Path, plugin: str) -> ModuleType:
    """Import `models/rerank/rerank.py` of one plugin.

    Every plugin calls its package `models`, so the one before is forgotten first.
    """
    for name in [name for name in sys.modules if name.partition(".")[0] in ("models", "provider")]:
        del sys.modules[name]
    root = str(folder / "models" / plugin)
    sys.path.insert(0, root)
    try:
        return importlib.import_module("models.rerank.rerank")
    finally:
        sys.path.remove(root)


def ragflow_rerank_model(folder: Path) -> ModuleType:
    """Execute `rag/llm/rerank_model.py` with stand-ins for the three modules it imports from the rest of RAGFlow."""
    name = "ragflow_rerank_model"
    if name not in sys.modules:
        _stand_in("common.log_utils", log_exception=_raise_it)
        _stand_in(
            "common.token_utils",
            num_tokens_from_string=_count_words,
            truncate=_cut,
            total_token_count_from_response=_total_tokens,
        )
        _stand_in("rag.llm.mws_utils", mws_api_url=_unused, require_mws_token=_unused)
        spec = importlib.util.spec_from_file_location(name, folder / "rag" / "llm" / "rerank_model.py")
        if spec is None or spec.loader is None:
            raise LookupError(f"{RAGFLOW.variable} is not a checkout of {RAGFLOW.repository}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def _stand_in(dotted: str, **functions: Callable[..., object]) -> None:
    """Put a module of functions, and the packages above it, where an import finds them."""
    parts = dotted.split(".")
    for depth in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:depth]), ModuleType(".".join(parts[:depth])))
    vars(sys.modules[dotted]).update(functions)


def _raise_it(error: Exception, *_: object) -> None:
    raise error


def _count_words(text: str) -> int:
    return len(text.split())


def _cut(text: str, max_len: int) -> str:
    return " ".join(text.split()[:max_len])


def _total_tokens(response: object) -> int:
    """Look where RAGFlow looks; 0 where there is nothing, which makes it refuse the model."""
    if not isinstance(response, dict):
        return 0
    for path in (("usage", "total_tokens"), ("meta", "tokens", "input_tokens")):
        value: object = response
        with contextlib.suppress(KeyError, TypeError):
            for key in path:
                value = value[key]  # pyright: ignore[reportIndexIssue, reportUnknownVariableType]
            if isinstance(value, int):
                return value
    return 0


def _unused(*_: object) -> str:
    raise NotImplementedError("the factory of this product's own cloud is not run here")
