"""A product's own files are found and loaded from whatever folder its variable names."""

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from clients.products import PRODUCTS, Product, checkout, dify_module, ragflow_rerank_model


@pytest.fixture(autouse=True)
def modules_are_forgotten() -> Generator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def written(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.variable)
def test_a_checkout_that_is_not_named_is_asked_for(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(product.variable, raising=False)
    with pytest.raises(LookupError, match=f"set {product.variable} to a checkout of {product.repository}"):
        checkout(product)


def test_plugins_that_share_their_package_names_are_kept_apart(tmp_path: Path) -> None:
    for plugin in ("one", "two"):
        root = tmp_path / "models" / plugin / "models"
        written(root / "helper.py", f"NAME = {plugin!r}\n")
        written(root / "rerank" / "rerank.py", "from models.helper import NAME\nfrom ..helper import NAME as SAME\n")
    loaded = [dify_module(tmp_path, plugin) for plugin in ("one", "two")]
    assert [(vars(module)["NAME"], vars(module)["SAME"]) for module in loaded] == [("one", "one"), ("two", "two")]
    assert str(tmp_path / "models" / "two") not in sys.path


def test_ragflows_file_finds_stand_ins_for_the_rest_of_ragflow(tmp_path: Path) -> None:
    source = """
from common.log_utils import log_exception
from common.token_utils import num_tokens_from_string, total_token_count_from_response, truncate
from rag.llm.mws_utils import mws_api_url, require_mws_token
CUT = truncate("one two three", 2)
TOKENS = [total_token_count_from_response(each) for each in ({"usage": {"total_tokens": 7}}, {"usage": {}}, [])]
"""
    written(tmp_path / "rag" / "llm" / "rerank_model.py", source)
    module = vars(ragflow_rerank_model(tmp_path))
    assert (module["CUT"], module["TOKENS"]) == ("one two", [7, 0, 0])
