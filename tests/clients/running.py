"""Runs the clients' scripts against live servers and reads what they print."""

import json
import os
import subprocess
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from clients import environments
from live import serving
from rerankd import Reranker
from tiny import tiny_bert

HERE = Path(__file__).parent
MODEL = "bge-reranker-v2-m3"
BUNDLED = "rerankd-zh-en"
KEY = "a-key-of-the-tests"
SCRIPT_TIMEOUT_S = 240

_QUERY = "What is the capital of France?"
_DOCUMENTS = ("bananas are yellow", "Paris is the capital of France", "France is a country")
_CLEARLY = 1e-3


class Line(TypedDict):
    """One case as a script prints it."""

    client: str
    version: str
    called: str
    case: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Run:
    """A script, the environment it runs in, and the names under which it asks for the model."""

    script: str
    environment: str
    models: tuple[str, ...] = (MODEL,)

    def __str__(self) -> str:
        return f"{self.script}-{self.environment}"


@dataclass(frozen=True, slots=True)
class Servers:
    """Two servers of the same model: `url` is open, `locked_url` wants `KEY`. `folder` is empty, for the clients."""

    url: str
    locked_url: str
    folder: Path


@contextmanager
def servers(folder: Path) -> Generator[Servers]:
    """Serve a tiny model under the name of a well-known one, and the bundled model, without and with a key."""
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    model = str(ranked_model(folder))
    home = folder / "home"
    home.mkdir()
    with (
        serving(model, "--models.served", BUNDLED, cwd=home, env=cache) as server,
        serving(model, "--models.served", BUNDLED, cwd=home, env={**cache, "RERANKD_AUTH__KEYS": KEY}) as locked,
    ):
        yield Servers(server.url, locked.url, home)


def ranked_model(folder: Path) -> Path:
    """Make a random model that puts the second of the three documents first, clearly apart from the rest."""
    for seed in range(200):
        made = tiny_bert(folder / str(seed) / MODEL, seed=seed)
        with Reranker(str(made)) as reranker:
            scores = reranker.score([(_QUERY, document) for document in _DOCUMENTS])
        others = sorted((scores[0], scores[2]))
        if scores[1] > others[1] + _CLEARLY and others[1] > others[0] + _CLEARLY:
            return made
    raise AssertionError("no random model ranks the documents: is every score the same?")


def run(wanted: Run, on: Servers, extra: Mapping[str, str] | None = None) -> Sequence[Line]:
    """Run a script to its end.

    Raises:
        EnvironmentUnavailableError: its environment cannot be made.
    """
    python = environments.python_of(wanted.environment)
    servers = ["--url", on.url, "--locked-url", on.locked_url, "--key", KEY]
    names = [part for model in wanted.models for part in ("--model", model)]
    done = subprocess.run(
        [str(python), "-X", "utf8", str(HERE / "scripts" / f"{wanted.script}.py"), *servers, *names],
        cwd=on.folder,
        env=_environment(on.folder, extra or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=SCRIPT_TIMEOUT_S,
        check=False,
    )
    lines = [cast("Line", json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]
    failed = [line for line in lines if not line["ok"]]
    assert lines, f"{wanted} ran no case:\n{done.stderr[-2000:]}"
    assert done.returncode == bool(failed), f"{wanted} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return lines


def failures(lines: Iterable[Line]) -> str:
    """Tell which cases failed and how, a line each; "" when all passed."""
    return "\n".join(
        f"{line['client']} {line['version']} {line['case']}: {line['detail']}" for line in lines if not line["ok"]
    )


def _environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """What a script sees: no proxy, no settings of this machine, and every client's calls home turned off."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "TEMP")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "HOME": str(home),
        "PYTHONPATH": str(HERE),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "LANGSMITH_TRACING": "false",
        "NO_PROXY": "*",
        **extra,
    }
