"""A newer revision in place of the one in use: with real hubs, real files and real networks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hub.huggingface import HuggingFaceHub
from hub.server import Fault, files_of, running
from rerankd.errors import ChecksumMismatch, ConfigError, Conflict, DownloadFailed, ModelLoadError, RevisionRefused
from rerankd.metrics import Metrics
from rerankd.models import renewal
from rerankd.models.loader import Loader
from rerankd.models.pool import ModelPool
from rerankd.models.renewal import Golden, Outcome, Scores
from rerankd.models.slot import Advance
from rerankd.registry import revisions
from rerankd.registry.obtain import find
from rerankd.registry.resolve import Entry, resolve
from rerankd.registry.store import Store
from rerankd.sources.base import Access
from rerankd.types import ModelState
from tiny import tiny_bert

pytestmark = pytest.mark.anyio

NAME = "example/tiny-reranker"
Files = Mapping[str, bytes]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    """Three revisions of one model; all of the same form, with other weights."""
    return [files_of(tiny_bert(tmp_path_factory.mktemp(f"v{seed}") / "m", seed=seed)) for seed in (1, 2, 3)]


@pytest.fixture
def hub(versions: list[Files], monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceHub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with running(HuggingFaceHub()) as hub:
        hub.repository(NAME).push(versions[0], "main")
        yield hub


@pytest.fixture
def loader(tmp_path: Path, hub: HuggingFaceHub) -> Loader:
    store = Store(tmp_path / "store")
    return Loader(store, Access(store.root, hf_endpoint=hub.url, timeout_s=2))


@asynccontextmanager
async def served(loader: Loader) -> AsyncGenerator[ModelPool]:
    pool = ModelPool([resolve(NAME)], loader.load, Metrics(), fetch=loader.fetch)
    await pool.start()
    await pool.wait()
    try:
        yield pool
    finally:
        await pool.close()


async def update(pool: ModelPool, loader: Loader, golden: Golden | None = None, keep: int = 1) -> Outcome:
    return await pool.renew(NAME, renewal.update(resolve(NAME), loader, golden=golden, keep=keep), Advance())


async def rollback(pool: ModelPool, loader: Loader) -> Outcome:
    return await pool.renew(NAME, renewal.rollback(resolve(NAME), loader, keep=1), Advance())


async def in_use(pool: ModelPool) -> str:
    async with pool.use(NAME) as model:
        return model.info.revision


async def test_a_newer_revision_is_used_and_taken_back(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    async with served(loader) as pool:
        first = await in_use(pool)
        assert (await update(pool, loader)).how == "unchanged"
        second = hub.repository(NAME).push(versions[1], "main")
        assert await update(pool, loader) == Outcome("tiny-reranker", "updated", first, second)
        assert await in_use(pool) == second
        assert find(resolve(NAME), loader.reach) == loader.store.root / _folder(second), "the next start uses it, too"
        assert await rollback(pool, loader) == Outcome("tiny-reranker", "rolled back", second, first)
        assert await in_use(pool) == first
        with pytest.raises(ConfigError, match="nothing to go back to"):
            await rollback(pool, loader)
        told = revisions.history(resolve(NAME), loader.reach)
        assert [(change.how, change.before, change.after) for change in told] == [
            ("updated", first, second),
            ("rolled back", second, first),
        ]
        fetched = len(hub.got("/cdn/"))
        assert (await update(pool, loader)).after == second
        assert len(hub.got("/cdn/")) == fetched, "what is here is not fetched again"


async def test_requests_keep_the_network_they_began_with_and_it_is_freed_after_the_last(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    async with served(loader) as pool:
        first = await in_use(pool)
        second = hub.repository(NAME).push(versions[1], "main")
        async with pool.use(NAME) as old:
            await update(pool, loader)
            assert old.info.revision == first
            assert await in_use(pool) == second
            assert pool.info(NAME).in_flight == 1
            work = old.reader.read("q", ["d"])
            assert old.engine.run(work.encodings), "the old network still runs"
        assert pool.info(NAME).in_flight == 0
        await asyncio.sleep(0.1)
        with pytest.raises(Exception, match="unloaded"):
            old.engine.run(work.encodings)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda hub, files: hub.faults.append(Fault("GET /cdn/", corrupt=True)), ChecksumMismatch),
        (lambda hub, files: hub.faults.append(Fault("GET /api/", status=404)), DownloadFailed),
        (lambda hub, files: files.update({"config.json": b'{"model_type": "resnet"}'}), ModelLoadError),
        (lambda hub, files: files.update({"model.safetensors": b"\0" * 5000}), ModelLoadError),
        (lambda hub, files: files.pop("tokenizer.json"), ModelLoadError),
    ],
    ids=["damaged on the way", "hub gone", "another kind of model", "damaged weights", "no tokenizer"],
)
async def test_a_revision_that_cannot_be_made_ready_changes_nothing(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files],
    spoil: Callable[[HuggingFaceHub, dict[str, bytes]], object], error: type[ModelLoadError],
) -> None:  # fmt: skip
    async with served(loader) as pool:
        first = await in_use(pool)
        files = dict(versions[1])
        spoil(hub, files)
        hub.repository(NAME).push(files, "main")
        with pytest.raises(error):
            await update(pool, loader)
        assert await in_use(pool) == first
        assert pool.info(NAME).state is ModelState.READY
        assert not revisions.history(resolve(NAME), loader.reach)
        found = find(resolve(NAME), loader.reach)
        assert found
        assert revisions.snapshot_id(found) == first


async def test_a_revision_that_ranks_worse_than_the_margin_allows_is_refused(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    measured: list[float] = []

    def ndcg(score: Scores) -> float:
        assert len(score("q", ["a", "b"])) == 2
        return measured.pop(0)

    async with served(loader) as pool:
        first = await in_use(pool)
        second = hub.repository(NAME).push(versions[1], "main")
        measured[:] = [0.80, 0.77]
        with pytest.raises(RevisionRefused, match=r"nDCG@10 0\.7700 on the golden set, 0\.8000 before"):
            await update(pool, loader, Golden(ndcg, margin=0.02))
        assert await in_use(pool) == first
        measured[:] = [0.80, 0.79]
        outcome = await update(pool, loader, Golden(ndcg, margin=0.02))
        assert (outcome.after, outcome.ndcg_before, outcome.ndcg_after) == (second, 0.80, 0.79)
        (change,) = revisions.history(resolve(NAME), loader.reach)
        assert (change.ndcg_before, change.ndcg_after) == (0.80, 0.79)


async def test_one_renewal_of_a_model_at_a_time(hub: HuggingFaceHub, loader: Loader, versions: list[Files]) -> None:
    async with served(loader) as pool:
        hub.repository(NAME).push(versions[1], "main")
        hub.faults.append(Fault("GET /api/", times=1, silent_s=0.3))
        first = asyncio.create_task(update(pool, loader))
        await asyncio.sleep(0.1)
        assert pool.info(NAME).updating is ModelState.RESOLVING
        with pytest.raises(Conflict, match="being renewed"):
            await update(pool, loader)
        with pytest.raises(Conflict):
            pool.unload(NAME)
        assert (await first).how == "updated"
        assert pool.info(NAME).updating is None


async def test_replaced_revisions_stay_as_many_as_are_to_be_kept(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    async with served(loader) as pool:
        names = [await in_use(pool)]
        for files in versions[1:]:
            names.append(hub.repository(NAME).push(files, "main"))
            await update(pool, loader, keep=1)
        snapshots = loader.store.root / "models/huggingface/example--tiny-reranker/snapshots"
        assert {folder.name for folder in snapshots.iterdir()} == set(names[1:])
        graphs = list((loader.store.root / "prepared").glob("*[!k]"))
        assert len([graph for graph in graphs if graph.is_dir()]) == 2, "graphs go with their weights"
        assert (await rollback(pool, loader)).after == names[1]
        with pytest.raises(ConfigError, match="no longer here"):
            await rollback(pool, loader)


async def test_a_model_that_has_failed_is_mended_by_an_update(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    hub.repository(NAME).push({**versions[0], "model.safetensors": b"\0" * 5000}, "main")
    pool = ModelPool([resolve(NAME)], loader.load, Metrics(), fetch=loader.fetch)
    await pool.start()
    with pytest.raises(ModelLoadError):
        await pool.wait()
    good = hub.repository(NAME).push(versions[1], "main")
    assert (await update(pool, loader)).after == good
    assert await in_use(pool) == good
    await pool.close()


async def test_an_unloaded_model_is_renewed_on_disk_and_in_memory(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    async with served(loader) as pool:
        pool.unload(NAME)
        second = hub.repository(NAME).push(versions[1], "main")
        assert (await update(pool, loader)).after == second
        assert await in_use(pool) == second


async def test_a_folder_of_ones_own_is_read_again_where_its_files_have_changed(tmp_path: Path) -> None:
    loader = Loader(Store(tmp_path / "store"))
    entry = resolve(str(tiny_bert(tmp_path / "mine", seed=1)))
    pool = ModelPool([entry], loader.load, Metrics())
    await pool.start()
    before = (await pool.wait()).fingerprint
    plan = renewal.update(entry, loader, golden=None, keep=1)
    assert (await pool.renew("mine", plan, Advance())).how == "unchanged"
    tiny_bert(tmp_path / "mine", seed=2)
    assert (await pool.renew("mine", plan, Advance())).how == "updated"
    assert pool.info("mine").fingerprint != before
    with pytest.raises(ConfigError, match="was not fetched"):
        await pool.renew("mine", renewal.rollback(entry, loader, keep=1), Advance())
    await pool.close()


async def test_offline_nobody_is_asked_for_a_newer_revision(hub: HuggingFaceHub, loader: Loader) -> None:
    async with served(loader) as pool:
        asked = len(hub.asked)
        offline = replace(loader, access=replace(loader.reach, offline=True))
        with pytest.raises(DownloadFailed, match="offline"):
            await update(pool, offline)
        assert len(hub.asked) == asked


def test_without_a_server_the_store_gets_the_newer_revision(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    entry = resolve(NAME)
    loader.load(entry, lambda _: None).engine.close()
    second = hub.repository(NAME).push(versions[1], "main")
    heard: list[object] = []
    plan = renewal.update(entry, loader, golden=Golden(lambda score: score("q", ["d"])[0] * 0, 0.0), keep=1)
    assert renewal.renew_here(plan, heard.append).after == second
    assert ModelState.JUDGING in heard
    assert renewal.renew_here(plan, heard.append).how == "unchanged"
    assert loader.load(entry, lambda _: None).info.revision == second


def test_a_change_that_was_killed_before_it_was_done_has_not_happened(
    hub: HuggingFaceHub, loader: Loader, versions: list[Files]
) -> None:
    entry: Entry = resolve(NAME)
    first = loader.load(entry, lambda _: None).info.revision
    hub.repository(NAME).push(versions[1], "main")
    renewal.renew_here(renewal.update(entry, loader, golden=None, keep=1), lambda _: None)
    found = revisions.in_use(entry, loader.reach)
    assert found
    place = revisions.of(entry, found[1], loader.reach)
    assert place
    place.place.remember("", first)  # as if killed between the history and the name
    assert place.history() == []
    assert place.replaced() == []


def _folder(snapshot: str) -> str:
    return f"models/huggingface/example--tiny-reranker/snapshots/{snapshot}/tiny-reranker"
