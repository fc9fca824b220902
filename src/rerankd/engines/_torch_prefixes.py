"""States of shared prefixes: computed once, kept while their request lives, bounded in bytes."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

from rerankd.engines._torch_network import States
from rerankd.engines.base import SharedPrefix


class PrefixStates:
    """Not thread-safe: the engine's lock is around it. Counts what it computed, for tests and benchmarks."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._known: WeakKeyDictionary[SharedPrefix, States] = WeakKeyDictionary()
        self.computed_tokens = 0

    def get(self, prefix: SharedPrefix, compute: Callable[[], States]) -> States:
        """Return a prefix's states; those asked for longest ago make room. One that is too big to keep is computed

        again in each batch.
        """
        found = self._known.pop(prefix, None)
        if found is None:
            found = compute()
            self.computed_tokens += prefix.tokens
        room = self._max_bytes - _bytes(found)
        if room >= 0:
            self._make_room(room)
            self._known[prefix] = found
        return found

    @property
    def bytes(self) -> int:
        """How much is kept."""
        return sum(_bytes(states) for states in list(self._known.values()))

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def _make_room(self, room: int) -> None:
        while self._known and self.bytes > room:
            oldest = next(iter(self._known.keys()), None)
            if oldest is not None:
                self._known.pop(oldest, None)


def _bytes(states: States) -> int:
    return sum(tensor.nbytes for pair in states for tensor in pair)
