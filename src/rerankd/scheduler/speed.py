"""How fast a model runs here, learnt from its batches."""

from dataclasses import dataclass

_FIRST_GUESS_TOKENS_PER_S = 2000.0
_FADING = 0.95
_ENOUGH_BATCHES = 32


@dataclass(slots=True)
class Speed:
    """Tokens per second of one worker with one model, over about the last twenty batches."""

    batches: int = 0
    tokens: float = 0.0
    seconds: float = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Learn from one batch."""
        self.batches += 1
        self.tokens = _FADING * self.tokens + tokens
        self.seconds = _FADING * self.seconds + seconds

    def needed_s(self, tokens: int) -> float:
        """Return how long one worker needs; by a guess while nothing was measured."""
        return tokens * self.seconds / self.tokens if self.tokens else tokens / _FIRST_GUESS_TOKENS_PER_S

    @property
    def known(self) -> bool:
        """Whether to rely on it: the first batches of a model are slower than the rest."""
        return self.batches >= _ENOUGH_BATCHES
