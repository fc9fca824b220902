"""What is set for one model alone: `NAME: max_tokens=1024 activation=none pinned=true`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from rerankd.errors import ConfigError

Activation = Literal["", "sigmoid", "none"]

_TRUE = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


@dataclass(frozen=True, slots=True)
class Options:
    """One model's settings; what is "" or None is as for all models.

    `activation` is what becomes of its raw scores: "sigmoid", or "none". `temperature` and `bias` calibrate it: the
    activation gets raw / temperature + bias (`rerankd evaluate` fits both). Raw scores are never touched. `threads` is
    how many of the worker threads may run it at once; 0: all. `check_golden` False serves it though it does not give
    the known scores of its card.
    """

    precision: Literal["", "auto", "fp32", "int8"] = ""
    max_tokens: int | None = None
    activation: Activation = ""
    pinned: bool = False
    threads: int = 0
    temperature: float | None = None
    bias: float | None = None
    check_golden: bool | None = None


def read(texts: Sequence[str]) -> dict[str, Options]:
    """Read one line for each model: a name, a colon, then settings.

    Raises:
        ConfigError: a line or a value is none.
    """
    return dict(_line(text) for text in texts)


def _line(text: str) -> tuple[str, Options]:
    name, colon, rest = text.rpartition(": ")
    if not colon or not name.strip():
        raise ConfigError(f"models.options {text!r} is not written NAME: setting=value setting=value")
    options = Options()
    for word in rest.split():
        key, equals, value = word.partition("=")
        if not equals or key not in _READERS:
            close = get_close_matches(key, _READERS, n=1)
            hint = f"did you mean {close[0]}=?" if close else f"there are {', '.join(_READERS)}"
            raise ConfigError(f"models.options {text!r}: {word!r} is no setting of a model; {hint}")
        try:
            options = replace(options, **{key: _READERS[key](value)})
        except ValueError as error:
            raise ConfigError(f"models.options {text!r}: {word!r} must be {error}") from error
    return name.strip(), options


def _one_of(*words: str) -> Callable[[str], object]:
    def read_word(value: str) -> object:
        if value not in words:
            raise ValueError(f"{', '.join(words[:-1])} or {words[-1]}")
        return value

    return read_word


def _at_least(least: int) -> Callable[[str], object]:
    def read_number(value: str) -> object:
        if not value.isdecimal() or int(value) < least:
            raise ValueError(f"a number, at least {least}")
        return int(value)

    return read_number


def _real(least: float) -> Callable[[str], object]:
    def read_real(value: str) -> object:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number <= least:
            raise ValueError("a number" if math.isinf(least) else f"a number above {least:g}")
        return number

    return read_real


def _flag(value: str) -> object:
    if value.lower() not in _TRUE:
        raise ValueError("true or false")
    return _TRUE[value.lower()]


_READERS: Mapping[str, Callable[[str], object]] = {
    "precision": _one_of("auto", "fp32", "int8"),
    "max_tokens": _at_least(16),
    "activation": _one_of("sigmoid", "none"),
    "pinned": _flag,
    "threads": _at_least(1),
    "temperature": _real(0.0),
    "bias": _real(-math.inf),
    "check_golden": _flag,
}
