"""Logging set-up: text for people, JSON lines for machines, and the id of the request that a line belongs to."""

import json
import logging
import math
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request being served in this task; "" outside one."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# A caller's model name or path may hold line breaks and terminal escapes: a line stays one line, and plain.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {0x0A: "\\n", 0x09: "\\t"}

_SAID = ("method", "path", "status")
"""Fields that an access line's message holds already; machines read them one by one."""


def set_up(level: str, form: Literal["auto", "text", "json"]) -> None:
    """Send all logging to standard error. For programs only: the library never calls this.

    `level` is that of our own messages; other libraries' debug messages are never written.
    """
    handler = logging.StreamHandler(sys.stderr)
    human = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if human else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger("rerankd").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("httpx2").setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, and whatever was passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of valid JSON, whatever the record holds."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _extra(record).items():
            # JSON has no infinities, and an extra never hides a standard field.
            line.setdefault(name, str(value) if isinstance(value, float) and not math.isfinite(value) else value)
        trouble = _trouble(self, record)
        if trouble:
            line["exception"] = trouble
        text = json.dumps(line, ensure_ascii=False, default=str)
        # Half a surrogate pair, which JSON bodies can carry, has no UTF-8 form; its escape is valid JSON.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


class TextFormatter(logging.Formatter):
    """`12:34:56 info    message  key=value`, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without control characters, then the traceback if there is one."""
        clock = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        said = _SAID if record.name == "rerankd.access" else ()
        tail = "".join(f"  {name}={value}" for name, value in _extra(record).items() if name not in said)
        text = f"{clock} {record.levelname.lower():<7} " + f"{record.getMessage()}{tail}".translate(_CONTROL)
        trouble = _trouble(self, record)
        return f"{text}\n{trouble}" if trouble else text


def _extra(record: logging.LogRecord) -> dict[str, object]:
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if request_id.get():
        fields.setdefault("request_id", request_id.get())
    return fields


def _trouble(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
