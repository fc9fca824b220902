"""The models that were loaded into a running server, written down so that its next start serves them again."""

import contextlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

logger = logging.getLogger(__name__)


class Operated:
    """A small file: the id of each model, and a name that means it. Safe between threads; one server has it.

    A file that cannot be read or written is said in the log and keeps nobody from serving.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()

    def names(self) -> Mapping[str, str]:
        """Return what was written down, the oldest first: id to name."""
        with self._lock:
            return self._read()

    def add(self, id_: str, name: str) -> None:
        """Write a model down."""
        with self._lock:
            known = self._read()
            if known.get(id_) != name:
                self._write({**known, id_: name})

    def remove(self, id_: str) -> None:
        """Strike a model off."""
        with self._lock:
            known = self._read()
            if known.pop(id_, None) is not None:
                self._write(known)

    def _read(self) -> dict[str, str]:
        try:
            table = json.loads(self._file.read_text("utf-8"))
            return {str(id_): str(name) for id_, name in cast("dict[str, str]", table["models"]).items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning(
                "which models were loaded before the last stop cannot be read from %s in the store (%s): none of them "
                "is loaded again",
                self._file.name,
                type(error).__name__,
            )
            return {}

    def _write(self, models: Mapping[str, str]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self._file.parent, prefix=f"{self._file.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(json.dumps({"models": dict(models)}, ensure_ascii=False, indent=1))
                Path(temporary).replace(self._file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    Path(temporary).unlink()
        except OSError as error:
            logger.warning(
                "the next start will not know of this change: the store cannot be written (%s)", error.strerror
            )
