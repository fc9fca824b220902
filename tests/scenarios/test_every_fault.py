"""Every kind of fault in one run, drawn at random, against two real processes: no wrong score, no caller left waiting.

Workers are killed with -9; Valkey, which holds the cache and the counters, is killed, frozen and started again; the
disk fills up while a worker has to be replaced; the engine raises, runs out of memory, returns too much or nothing, and
hangs. SCENARIOS=full draws five hundred.
"""

import os
import random
import resource
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
import psutil
import pytest

from live import Server, serving, workers
from long_runs import FULL, told
from rerankd import Reranker
from tiny import tiny_bert
from valkey_server import ValkeyProcess, valkey

FAULTS = 500 if FULL else 24
HANG_S = 0.3
PATIENCE_S = 30.0
REPLACED_S = 180.0
CALLERS = 4
PLUGIN = Path(__file__).parent / "plugin"
ENGINE_FAULTS = {"exception": 20, "memory": 15, "rows": 15, "nothing": 15, "hang": 6}
OTHER_FAULTS = {"redis killed": 8, "redis frozen": 8, "worker killed": 2, "disk full, worker killed": 1}
REFUSALS = frozenset({429, 500, 503})
WORDS = ["rerank", "人工智能", "query", "文档", "a", "the", "模型", "memory", "数据", "growth"]


class Disk:
    """The server's temporary folder, on a file system of its own, or, where none can be mounted, with a limit on files.

    The mount is the server's alone and goes with it: it is reached through the server's own root.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        mount = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=24m tmpfs "$0" && exec "$@"', str(folder))
        with suppress(OSError):
            if subprocess.run([*mount, "true"], capture_output=True, timeout=20, check=False).returncode == 0:
                self.within: Sequence[str] = mount
                self.kind = "a file system of 24 MB"
                return
        self.within = ()
        self.kind = "a limit on the size of files"

    @contextmanager
    def full(self, server: Server) -> Generator[None]:
        if not self.within:
            with self._limited(server):
                yield
            return
        filler = Path(f"/proc/{server.process.pid}/root{self.folder}/filler")
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def _limited(self, server: Server) -> Generator[None]:
        def limit(most: int) -> None:
            for process in (psutil.Process(server.process.pid), *workers(server)):
                with suppress(psutil.NoSuchProcess):
                    process.rlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

        limit(0)
        try:
            yield
        finally:
            limit(resource.RLIM_INFINITY)


@dataclass
class Outcomes:
    """What callers got; filled by several threads."""

    reference: Reranker
    lock: threading.Lock = field(default_factory=threading.Lock)
    right: int = 0
    refused: Counter[int] = field(default_factory=Counter[int])
    cut_off: int = 0
    hung: int = 0
    wrong: list[str] = field(default_factory=list[str])
    numbers: "count[int]" = field(default_factory=count)

    def ask(self, http: httpx2.Client, dice: random.Random) -> bool:
        """Ask something, check every score, and tell whether it was answered."""
        # A third is asked again, so that it may come from a cache.
        number = dice.randrange(50) if dice.random() < 0.3 else 1000 + next(self.numbers)
        own = random.Random(number)
        query = f"{own.choice(WORDS)} {number}"
        documents = [" ".join(own.choices(WORDS, k=own.randint(1, 30))) for _ in range(own.choice((1, 2, 5, 10)))]
        try:
            answer = http.post("/v1/rerank", json={"query": query, "documents": documents})
        except httpx2.TimeoutException:
            self.note(hung=1)
            return False
        except httpx2.TransportError:  # the process that was asked has just been killed: its callers know at once
            self.note(cut_off=1)
            return False
        if answer.status_code != 200:
            bad = answer.status_code not in REFUSALS or "secret" in answer.text
            self.note(refused=answer.status_code, wrong=f"{answer.status_code} {answer.text[:200]}" if bad else "")
            return False
        found = {hit["index"]: hit["relevance_score"] for hit in answer.json()["results"]}
        expected = self.reference.score([(query, document) for document in documents])
        same = len(found) == len(expected) and all(abs(found[i] - score) < 1e-4 for i, score in enumerate(expected))
        self.note(right=1 if same else 0, wrong="" if same else f"{query}: {found}, not {expected}")
        return same

    def note(self, *, right: int = 0, refused: int = 0, cut_off: int = 0, hung: int = 0, wrong: str = "") -> None:
        with self.lock:
            self.right += right
            self.cut_off += cut_off
            self.hung += hung
            if refused:
                self.refused[refused] += 1
            if wrong:
                self.wrong.append(wrong)


@dataclass
class Run:
    """A server under fire, and how long it took to recover from each fault, in seconds, by kind."""

    server: Server
    storage: ValkeyProcess
    disk: Disk
    orders: Path
    outcomes: Outcomes
    dice: random.Random = field(default_factory=lambda: random.Random(8))
    recovered: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    scrapes: int = 0

    def inject(self, number: int, kind: str) -> None:
        """Cause one fault, wait until it has struck and is over, and note how long that took."""
        if kind in ENGINE_FAULTS:
            order = self.orders / f"{number}.{kind}"
            order.touch()
            taken = order.with_name(order.name + ".taken")
            eventually(f"an engine takes the fault {kind}", taken.exists)
            began = time.monotonic()
        elif kind.startswith("redis"):
            began = self._without_redis(self.storage.kill if kind == "redis killed" else self.storage.freeze)
        elif kind == "worker killed":
            began = self._kill_a_worker()
        else:
            with self.disk.full(self.server):
                began = self._kill_a_worker()
        eventually(f"requests are answered after: {kind}", self._answers)
        self.recovered.setdefault(kind, []).append(time.monotonic() - began)

    def _answers(self) -> bool:
        """Whether a request over a connection of its own is answered, by whichever process takes it."""
        with httpx2.Client(base_url=self.server.url, timeout=PATIENCE_S) as http:
            return self.outcomes.ask(http, self.dice)

    def _without_redis(self, stop: Callable[[], None]) -> float:
        """Take it away for a while; return when it came back, once it is written to again."""
        stop()
        eventually("requests are answered without Redis", self._answers)
        time.sleep(self.dice.uniform(0.0, 0.5))
        if stop == self.storage.freeze:
            self.storage.thaw()
        else:
            self.storage.start()
        began, before = time.monotonic(), self.storage.size()
        eventually("Redis is written to again", lambda: self._answers() and self.storage.size() != before)
        return began

    def _kill_a_worker(self) -> float:
        victim, began = self.dice.choice(workers(self.server)), time.monotonic()
        victim.kill()
        # One that is killed again within a minute waits up to half a minute before it is started again.
        eventually("it is replaced", lambda: len(set(workers(self.server)) - {victim}) == 2, REPLACED_S)
        eventually("both are ready", lambda: self._ready() == 2, REPLACED_S)
        return began

    def _ready(self) -> float:
        with suppress(httpx2.TransportError):  # it may have asked the one that is gone
            answer = httpx2.get(f"{self.server.url}/metrics", timeout=PATIENCE_S)
            self.scrapes += 1
            if answer.status_code != 200:
                self.outcomes.note(wrong=f"/metrics: {answer.status_code} {answer.text[:200]}")
            for line in answer.text.splitlines():
                if line.startswith("rerankd_model_state") and 'state="ready"' in line:
                    return float(line.rsplit(" ", 1)[1])
        return 0.0


def eventually(statement: str, true: Callable[[], bool], wait_s: float = 2 * PATIENCE_S) -> None:
    until = time.monotonic() + wait_s
    while not true():
        if time.monotonic() > until:
            pytest.fail(f"not within {wait_s:g} s: {statement}")
        time.sleep(0.02)


def drawn(dice: random.Random) -> list[str]:
    """Draw the faults: every kind once, the rest by weight, in any order."""
    weights = ENGINE_FAULTS | OTHER_FAULTS
    rare = {kind for kind, weight in weights.items() if weight <= 4 and not FULL}
    usual = {kind: weight for kind, weight in weights.items() if kind not in rare}
    kinds = [*weights, *dice.choices(list(usual), weights=list(usual.values()), k=FAULTS - len(weights))]
    dice.shuffle(kinds)
    return kinds


def plugged_in(folder: Path) -> str:
    """Install the engine as a package would; return the path that Python is to look in."""
    info = folder / "faulty_engine-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-engine\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text("[rerankd.engines]\nfaulty = faulty_engine:ENGINE\n", "utf-8")
    return os.pathsep.join(filter(None, [str(folder), str(PLUGIN), os.environ.get("PYTHONPATH")]))


@contextmanager
def callers(url: str, outcomes: Outcomes) -> Generator[None]:
    """Have callers ask all the time until the block ends; none of them may be left over."""
    over = threading.Event()

    def call(seed: int) -> None:
        dice = random.Random(seed)
        with httpx2.Client(base_url=url, timeout=PATIENCE_S) as http:
            while not over.wait(0.01):
                outcomes.ask(http, dice)

    threads = [threading.Thread(target=call, args=(seed,), daemon=True) for seed in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(2 * PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_faults_of_every_kind_give_no_wrong_score_and_leave_nobody_waiting(tmp_path: Path) -> None:
    model = tiny_bert(tmp_path / "model")
    orders, disk = tmp_path / "orders", Disk(tmp_path / "disk")
    orders.mkdir()
    environment = {"FAULTS": str(orders), "TMPDIR": str(disk.folder), "PYTHONPATH": plugged_in(tmp_path / "site")}
    with valkey(tmp_path) as storage, Reranker(str(model)) as reference:
        arguments = ("--workers", "2", "--models.engine", "faulty", "--scheduling.hang_s", str(HANG_S),
                     "--scheduling.workers", "4", "--cache.url", storage.url, "--limits.storage", storage.url,
                     "--limits.per_address", "100000000 requests/day")  # fmt: skip
        with serving(str(model), *arguments, cwd=tmp_path, env=environment, within=disk.within) as server:
            run = Run(server, storage, disk, orders, Outcomes(reference))
            eventually("both are ready", lambda: run._ready() == 2)
            kinds, began = drawn(run.dice), time.monotonic()
            with callers(server.url, run.outcomes):
                for number, kind in enumerate(kinds):
                    run.inject(number, kind)
            seconds = time.monotonic() - began
            assert server.stop() == 0
    outcomes = run.outcomes
    told(
        f"faults of every kind: {len(kinds)} in {seconds:.0f} s (the disk: {disk.kind}); {outcomes.right} requests "
        f"right, {sum(outcomes.refused.values())} refused {dict(outcomes.refused)}, {outcomes.cut_off} cut off by a "
        f"process that was killed, {len(outcomes.wrong)} wrong, {outcomes.hung} hung; {run.scrapes} scrapes"
    )
    for kind, took in sorted(run.recovered.items()):
        told(f"  {kind}: {len(took)} times, recovered in {statistics.median(took):.2f} s (median), {max(took):.2f} s "
             "(max)")  # fmt: skip
    assert outcomes.wrong == []
    assert outcomes.hung == 0
    assert set(run.recovered) == {*ENGINE_FAULTS, *OTHER_FAULTS}
    assert outcomes.right > len(kinds)
