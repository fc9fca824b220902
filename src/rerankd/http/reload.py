"""Keys that change while the server runs: noticed within a second, or at once on SIGHUP."""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rerankd.errors import ConfigError
from rerankd.http.auth import Keys

EVERY_S = 1.0

_logger = logging.getLogger("rerankd.http")

_Stamp = tuple[int, int, int]


@asynccontextmanager
async def keys_kept_fresh(keys: Keys, file: Path | None, *, every_s: float = EVERY_S) -> AsyncGenerator[None]:
    """Read the keys again when their file changes, and on SIGHUP, until the block ends."""
    if file is None:
        yield
        return
    asked = asyncio.Event()
    unhook = _on_hangup(asked)
    # What has changed since the keys were first read is read now: the stamp is older than what it stands for.
    seen = await asyncio.to_thread(_stamp, file)
    await _reload(keys, logging.DEBUG)
    watching = asyncio.create_task(_watch(keys, file, asked, every_s, seen))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if unhook:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


def _on_hangup(asked: asyncio.Event) -> bool:
    """Set the event on SIGHUP. Only a main thread has signals, and Windows has not this one."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return False
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return True


async def _watch(keys: Keys, file: Path, asked: asyncio.Event, every_s: float, seen: _Stamp) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(every_s):
                await asked.wait()
        stamp = await asyncio.to_thread(_stamp, file)
        if stamp != seen or asked.is_set():
            asked.clear()
            seen = stamp
            await _reload(keys, logging.INFO)


async def _reload(keys: Keys, level: int) -> None:
    try:
        count = await asyncio.to_thread(keys.reload)
    except ConfigError as error:
        _logger.error("the keys were not read again, those in force stay: %s", error)
    else:
        _logger.log(level, "keys read again: %d in force", count)


def _stamp(file: Path) -> _Stamp:
    """What changes when a file does; zeros where there is none."""
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
