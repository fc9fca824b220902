"""The documentation says what the code does."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerankd import errors
from rerankd.metrics import Metrics

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def rows(page: str) -> list[list[str]]:
    lines = (ROOT / "docs" / page).read_text("utf-8").splitlines()
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")
    ]


def subclasses(error: type[errors.RerankError]) -> Iterator[type[errors.RerankError]]:
    for child in error.__subclasses__():
        if child.__module__ == "rerankd.errors":
            yield child
            yield from subclasses(child)


def test_every_error_kind_is_documented_under_its_exception() -> None:
    documented = {row[0]: row[2] for row in rows("reference/errors.md")}
    kinds = {error.kind: error.__name__ for error in subclasses(errors.RerankError) if "kind" in vars(error)}
    del kinds["try_later"]  # never raised itself: a shelf for those that carry a time to come back
    assert documented == kinds


def test_every_metric_is_documented_and_no_other() -> None:
    exported = set(
        re.findall(r"^# TYPE (rerankd_\w+) (?:counter|gauge|histogram)$", Metrics().text().decode(), re.MULTILINE)
    )
    created = {name for name in exported if name.endswith("_created")}
    assert {row[0] for row in rows("reference/metrics.md")} == exported - created


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", ["rank_in_process", "rank_async"])
def test_an_example_runs(name: str, expected: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py")], capture_output=True, text=True, timeout=60, check=True
    )
    assert expected[name] in done.stdout
    assert done.stderr == ""


@pytest.fixture
def expected() -> dict[str, str]:
    return {
        "rank_in_process": "人工智能是计算机科学的分支",
        "rank_async": "What is the capital of France? -> Paris is the capital of France.",
    }


def test_every_example_is_run_by_a_test() -> None:
    run_elsewhere = {"rank_with_a_server"}  # tests/scenarios/test_first_ranking.py
    assert {file.stem for file in (ROOT / "examples").glob("*.py")} == {"rank_in_process", "rank_async"} | run_elsewhere


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))

    def without_comments_and_texts(text: str) -> list[str]:
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        commands = [line for block in blocks for line in block.splitlines()]
        return [re.sub(r'\s+#.*$|"[^"]*"', "", line) for line in commands]

    assert without_comments_and_texts(english) == without_comments_and_texts(chinese)
