"""`rerankd pull list rm bundle`: models onto this machine, off it, and to another."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_runs import Outcome, Run
from hub.huggingface import HuggingFaceHub
from hub.server import Fault, files_of, running

MODEL = "example/tiny-reranker"


@pytest.fixture
def hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, workdir: Path) -> Iterator[HuggingFaceHub]:
    """A hub that has the tiny model; the program asks it, and keeps models in a store of its own."""
    with running(HuggingFaceHub()) as hub:
        hub.repository(MODEL).push({**files_of(tiny_model), "README.md": b"# Tiny"}, "main")
        monkeypatch.setenv("RERANKD_MODELS__HF_ENDPOINT", hub.url)
        monkeypatch.setenv("RERANKD_MODELS__STORE", str(workdir / "store"))
        yield hub


def ok(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def here(run: Run) -> dict[str, int]:
    listed = json.loads(ok(run("list", "--here", "--json")).out)["models"]
    return {item["id"]: item["here_bytes"] for item in listed if item["source"] != "bundled"}


def test_a_pulled_model_is_listed_and_ranks_without_a_network(run: Run, hub: HuggingFaceHub) -> None:
    assert "fetched" in ok(run("pull", MODEL)).err
    assert list(here(run)) == [MODEL]
    assert here(run)[MODEL] > 1000
    hub.asked.clear()
    assert "was here already" in ok(run("pull", MODEL)).err
    ok(run("rank", "--model", MODEL, "what", stdin="cats purr\ndogs bark"))
    assert not hub.asked


def test_pull_answers_in_json(run: Run, hub: HuggingFaceHub) -> None:
    for was_here in (False, True):
        (model,) = json.loads(ok(run("pull", MODEL, "--json")).out)["models"]
        assert (model["id"], model["was_here"]) == ("tiny-reranker", was_here)
        assert model["names"] == ["tiny-reranker", MODEL]


def test_a_model_is_converted_as_it_is_pulled_where_that_is_wanted(
    run: Run, hub: HuggingFaceHub, monkeypatch: pytest.MonkeyPatch, workdir: Path
) -> None:
    assert "converted, runs in fp32: so small a network" in ok(run("pull", MODEL, "--convert")).err
    monkeypatch.setenv("RERANKD_MODELS__PRECISION", "int8")
    (model,) = json.loads(ok(run("pull", MODEL, "--convert", "--json")).out)["models"]
    assert (model["was_here"], model["precision"], model["agreement"]["pairs"]) == (True, "int8", 144)
    assert len(list((workdir / "store" / "prepared").glob("*/graph.json"))) == 2


def test_a_model_that_is_removed_leaves_nothing_but_folders(run: Run, hub: HuggingFaceHub, workdir: Path) -> None:
    ok(run("rank", "--model", MODEL, "what", stdin="cats purr"))
    assert list((workdir / "store" / "prepared").glob("*/graph.json"))
    assert "are free again" in ok(run("rm", MODEL)).err
    assert not here(run)
    left = [path for path in (workdir / "store").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert {path.parent.name for path in left if path.name != "lock"} <= {"digests"}
    outcome = run("rm", MODEL)
    assert (outcome.code, "nothing to remove" in outcome.err) == (3, True)


def test_a_folder_of_ones_own_is_never_removed(run: Run, tiny_model: Path, hub: HuggingFaceHub) -> None:
    for model in (str(tiny_model), "rerankd-zh-en"):
        outcome = run("rm", model)
        assert (outcome.code, "nothing to remove" in outcome.err) == (3, True)
    assert (tiny_model / "config.json").is_file()


def test_a_failure_names_addresses_answers_and_ways_out(run: Run, hub: HuggingFaceHub) -> None:
    hub.faults.append(Fault(status=503))
    outcome = run("pull", MODEL)
    assert outcome.code == 3
    assert f"{hub.url}: answered 503" in outcome.err
    assert "rerankd bundle import" in outcome.err


def test_a_model_that_no_place_could_have_is_refused_at_once(run: Run, hub: HuggingFaceHub) -> None:
    outcome = run("pull", "no-such-name")
    assert outcome.code == 3
    assert "written org/name or modelscope:org/name" in outcome.err
    assert not hub.asked


def test_show_tells_of_a_model_of_the_hub(run: Run, hub: HuggingFaceHub) -> None:
    facts = json.loads(ok(run("show", MODEL, "--json")).out)
    assert facts["id"] == "tiny-reranker"
    assert "model.safetensors" in facts["files"]


# --- bundles


def test_a_bundle_carries_a_model_of_the_hub_to_a_machine_without_a_network(
    run: Run, hub: HuggingFaceHub, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = json.loads(ok(run("bundle", "export", MODEL, "-o", "tiny.tar", "--json")).out)
    expected = ok(run("rank", "--model", MODEL, "what", "--json", stdin="cats purr\ndogs bark")).out
    hub.faults.append(Fault(status=503))
    hub.asked.clear()
    monkeypatch.setenv("RERANKD_MODELS__STORE", str(workdir / "elsewhere"))
    monkeypatch.setenv("RERANKD_MODELS__OFFLINE", "true")
    assert run("rank", "--model", MODEL, "what", stdin="cats purr").code == 3
    imported = json.loads(ok(run("bundle", "import", "tiny.tar", "--sha256", exported["sha256"], "--json")).out)
    assert imported["models"] == [MODEL]
    graphs = list((workdir / "elsewhere" / "prepared").glob("*/graph.json"))
    stamps = [graph.stat().st_mtime_ns for graph in graphs]
    ranked = ok(run("rank", "--model", MODEL, "what", "--json", stdin="cats purr\ndogs bark")).out
    assert json.loads(ranked)["results"] == json.loads(expected)["results"]
    assert stamps == [graph.stat().st_mtime_ns for graph in graphs], "the graph came along: nothing is converted"
    assert len(list((workdir / "elsewhere" / "prepared").glob("*/graph.json"))) == 1
    assert not hub.asked


def test_a_bundle_carries_int8_and_what_was_measured_of_it(
    run: Run, hub: HuggingFaceHub, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = json.loads(ok(run("convert", MODEL, "--precision", "int8", "--json")).out)
    ok(run("bundle", "export", MODEL, "-o", "tiny.tar"))
    monkeypatch.setenv("RERANKD_MODELS__STORE", str(workdir / "elsewhere"))
    monkeypatch.setenv("RERANKD_MODELS__OFFLINE", "true")
    monkeypatch.setenv("RERANKD_MODELS__PRECISION", "int8")
    ok(run("bundle", "import", "tiny.tar"))
    shown = json.loads(ok(run("show", MODEL, "--json")).out)
    assert (shown["precision"], shown["agreement"]) == ("int8", made["agreement"]), "the very same: not made again"


def test_a_bundle_carries_a_folder_of_ones_own(
    run: Run, hub: HuggingFaceHub, tiny_model: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(run("bundle", "export", str(tiny_model), MODEL, "-o", "two.tar"))
    monkeypatch.setenv("RERANKD_MODELS__STORE", str(workdir / "elsewhere"))
    told = ok(run("bundle", "import", "two.tar")).err
    assert "serve it: rerankd serve bundle:tiny\n" in told
    assert f"serve it: rerankd serve {MODEL}\n" in told
    ok(run("rank", "--model", "bundle:tiny", "what", stdin="cats purr"))
    assert set(here(run)) == {"bundle:tiny", MODEL}
    ok(run("rm", "bundle:tiny"))
    assert set(here(run)) == {MODEL}


def test_a_changed_bundle_is_refused(run: Run, hub: HuggingFaceHub, workdir: Path) -> None:
    ok(run("bundle", "export", MODEL, "-o", "tiny.tar"))
    data = bytearray((workdir / "tiny.tar").read_bytes())
    data[len(data) // 2] ^= 1
    (workdir / "tiny.tar").write_bytes(data)
    outcome = run("bundle", "import", "tiny.tar")
    assert (outcome.code, "was changed" in outcome.err) == (3, True)


def test_the_bundled_model_needs_no_bundle(run: Run, hub: HuggingFaceHub) -> None:
    outcome = run("bundle", "export", "rerankd-zh-en", "-o", "x.tar")
    assert (outcome.code, "ships inside the package" in outcome.err) == (3, True)
