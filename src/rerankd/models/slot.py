"""One served model and what is known of it: its state, its network, the requests that use it, its renewal."""

import asyncio
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rerankd.errors import ModelLoadError, ModelNotFound, ModelNotReady, RerankError
from rerankd.models.loaded import LoadedModel
from rerankd.registry.resolve import Entry
from rerankd.types import ModelInfo, ModelState, Progress

_LOAD_ESTIMATE_S = 5.0
_LONGEST_ESTIMATE_S = 3600.0
_UNNAMED = frozenset({"", "default", "not-specified", "default/not-specified"})


@dataclass(slots=True, eq=False)
class Lent:
    """A network and how many requests use it. `retired`: no new request gets it, and the last one's end frees it."""

    model: LoadedModel
    in_flight: int = 0
    retired: bool = False


@dataclass(slots=True)
class Advance:
    """How far a load or a renewal is, and since when it is known. Set by the thread that does it."""

    state: ModelState = ModelState.RESOLVING
    progress: Progress | None = None
    _since: tuple[float, int] | None = None

    def hear(self, news: ModelState | Progress) -> None:
        """Take a loader's report."""
        if isinstance(news, Progress):
            self._since = self._since or (time.monotonic(), news.done_bytes)
            self.progress = news
        else:
            self.state, self.progress, self._since = news, None, None

    def left_s(self) -> float:
        """Estimate the seconds until a request can be answered, from the speed of the download where there is one."""
        if not self.progress or not self._since:
            return _LOAD_ESTIMATE_S
        started, before = self._since
        seconds, done = time.monotonic() - started, self.progress.done_bytes - before
        if done <= 0 or seconds <= 0:
            return _LOAD_ESTIMATE_S
        left = max(0, self.progress.total_bytes - self.progress.done_bytes)
        return min(_LONGEST_ESTIMATE_S, _LOAD_ESTIMATE_S + left * seconds / done)


@dataclass(slots=True, eq=False)
class Slot:
    """One served model. Changed on the event loop only, except what the `Advance`s hear.

    `memory_bytes` is what it took when it was last loaded; 0: it never was. `turn` counts its networks, so that a load
    that was overtaken by a renewal is noticed.
    """

    entry: Entry
    advance: Advance = field(default_factory=Advance)
    current: Lent | None = None
    retiring: list[Lent] = field(default_factory=list[Lent])
    error: RerankError | None = None
    loading: asyncio.Task[None] | None = None
    renewal: Advance | None = None
    last_used: float = 0.0
    memory_bytes: int = 0
    turn: int = 0

    @property
    def in_flight(self) -> int:
        """Requests under way, those with a network that is being replaced included."""
        return sum(lent.in_flight for lent in (*self.retiring, *([self.current] if self.current else [])))

    def info(self) -> ModelInfo:
        """Describe it as callers may know it."""
        renewal = self.renewal
        updating = renewal.state if renewal else None
        if self.current:
            return replace(
                self.current.model.info,
                memory_bytes=self.memory_bytes,
                in_flight=self.in_flight,
                updating=updating,
                progress=renewal.progress if renewal else None,
            )
        card = self.entry.card
        return ModelInfo(
            id=self.entry.id,
            names=self.entry.names,
            state=self.advance.state,
            family=card.family if card else "",
            max_tokens=card.max_tokens if card else 0,
            failure=str(self.error) if self.error else "",
            progress=self.advance.progress or (renewal.progress if renewal else None),
            memory_bytes=self.memory_bytes,
            in_flight=self.in_flight,
            updating=updating,
        )

    def unready(self) -> RerankError:
        """Say why no request can use it now, and when one can."""
        if self.error:
            return ModelLoadError(f"model {self.entry.id!r} failed to load: {self.error}")
        return ModelNotReady(
            f"model {self.entry.id!r} is {self.advance.state.value}{_far(self.advance.progress)}: "
            f"try again in {math.ceil(self.advance.left_s())} s",
            retry_after_s=self.advance.left_s(),
        )


def find(slots: Sequence[Slot], name: str) -> Slot:
    """Match as clients write it: in any case, as "owner/name", as RAGFlow's "name___factory". The first is the default.

    Raises:
        ModelNotFound: none of that name.
    """
    wanted = name.casefold()
    if wanted in _UNNAMED:
        return slots[0]
    bare = wanted.split("___")[0]
    for candidate in (wanted, bare, bare.rsplit("/", 1)[-1]):
        for slot in slots:
            if candidate in _known(slot.entry.names):
                return slot
    raise ModelNotFound(name, [slot.entry.id for slot in slots])


def _known(names: Iterable[str]) -> set[str]:
    whole = {name.casefold() for name in names}
    return whole | {name.rsplit("/", 1)[-1] for name in whole}


def _far(progress: Progress | None) -> str:
    if not progress or not progress.total_bytes:
        return ""
    share = progress.done_bytes / progress.total_bytes
    return f" ({share:.0%} of {progress.total_bytes / 1e6:,.0f} MB)"
