"""When nothing is to be done, engines and the C library give back the memory that only requests need."""

import threading

from rerankd import machine
from rerankd.engines.base import Engine, Resting

_WAIT_S = 60.0


class Rests:
    """The engines that ran since they last rested. Every call is made with the scheduler's lock held."""

    def __init__(self, quiet_s: float) -> None:
        """Engines rest after `quiet_s` without work: soon enough to be seen, too late to slow the next request."""
        self._quiet_s = quiet_s
        self._tired: dict[int, Resting] = {}

    @property
    def patience_s(self) -> float:
        """How long a worker waits for work before it looks whether something is to rest."""
        return self._quiet_s if self._tired else _WAIT_S

    def ran(self, engine: Engine) -> None:
        """Note an engine that runs now."""
        if isinstance(engine, Resting):
            self._tired[id(engine)] = engine

    def rest(self, lock: threading.Condition) -> None:
        """Let engines rest, with the lock released meanwhile; the first worker that finds it quiet does it for all."""
        tired, self._tired = list(self._tired.values()), {}
        lock.release()
        try:
            for engine in tired:
                engine.rest()
            if tired:
                machine.give_back_memory()
        finally:
            lock.acquire()
