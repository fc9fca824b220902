"""Log lines: one record is one line, whatever the record holds."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    named = ["rerankd", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx2"]
    before = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in named})
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False


def record(message: str = "hello", **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "rerankd.x", "levelname": "INFO", "msg": message, "created": 0.0, **extra})


def as_json(line: logging.LogRecord) -> dict[str, Any]:
    text = log.JsonFormatter().format(line)
    assert "\n" not in text
    text.encode("utf-8")
    return json.loads(text, parse_constant=pytest.fail)


def test_a_json_line_holds_time_level_logger_message_and_extras() -> None:
    assert as_json(record(model="m")) == {
        "time": "1970-01-01T00:00:00.000+00:00",
        "level": "info",
        "logger": "rerankd.x",
        "message": "hello",
        "model": "m",
    }


def test_the_request_id_stands_in_every_line_of_its_request() -> None:
    token = log.request_id.set("r-1")
    try:
        assert as_json(record())["request_id"] == "r-1"
        assert "request_id=r-1" in log.TextFormatter().format(record())
    finally:
        log.request_id.reset(token)
    assert "request_id" not in as_json(record())


def test_an_extra_does_not_hide_a_standard_field() -> None:
    line = as_json(record(level="x", time="y", logger="z"))
    assert (line["level"], line["logger"]) == ("info", "rerankd.x")


def test_an_exception_is_told_in_both_forms() -> None:
    error = ValueError("wrong")
    failed = record(exc_info=(ValueError, error, None))
    assert as_json(failed)["exception"] == "ValueError: wrong"
    assert log.TextFormatter().format(failed).endswith("\nValueError: wrong")


@given(st.text(st.characters()), st.one_of(st.text(st.characters()), st.floats(), st.binary()))
def test_any_record_is_one_line_of_json(message: str, extra: object) -> None:
    line = as_json(record(message, seconds=extra))
    assert set(line) == {"time", "level", "logger", "message", "seconds"}


@given(st.text(), st.text())
def test_any_record_is_one_line_of_text_without_control_characters(message: str, extra: str) -> None:
    text = log.TextFormatter().format(record(message, path=extra))
    assert not [c for c in text if ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0]


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize(
    ("form", "stream", "json_expected"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("text", io.StringIO, False),
        ("json", Terminal, True),
    ],
)
def test_auto_is_text_on_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch, form: Any, stream: type[io.StringIO], json_expected: bool
) -> None:
    err = stream()
    monkeypatch.setattr(sys, "stderr", err)
    log.set_up("info", form)
    logging.getLogger("rerankd.x").info("hello", extra={"model": "m"})
    logging.getLogger("rerankd.x").debug("not this")
    line = err.getvalue()
    assert line.startswith("{") == json_expected
    assert line.count("\n") == 1
    assert "hello" in line


@pytest.mark.usefixtures("logging_as_it_was")
def test_debug_is_ours_only_and_warnings_are_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    log.set_up("debug", "json")
    logging.getLogger("rerankd.x").debug("ours")
    logging.getLogger("filelock").debug("theirs")
    logging.getLogger("uvicorn.access").info("access")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    lines = [json.loads(line) for line in err.getvalue().splitlines()]
    assert [line["logger"] for line in lines] == ["rerankd.x", "py.warnings"]
