"""Reading `config.json`: numbers, names and flags, each checked to be one the graph can be built for."""

from collections.abc import Collection, Mapping

from rerankd.errors import UnsupportedModel
from rerankd.types import JsonValue

Config = Mapping[str, JsonValue]


def integer(config: Config, name: str, default: int, *, least: int = 1) -> int:
    """A whole number of at least `least`.

    Raises:
        UnsupportedModel: it is something else.
    """
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no number of at least {least}")
    return value


def number(config: Config, name: str, default: float) -> float:
    """A number that is not negative.

    Raises:
        UnsupportedModel: it is something else.
    """
    value = config.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no positive number")
    return float(value)


def choice(config: Config, name: str, default: str, allowed: Collection[str]) -> str:
    """One of some words.

    Raises:
        UnsupportedModel: it is something else; the message lists the words.
    """
    value = config.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        words = ", ".join(repr(word) for word in sorted(allowed))
        raise UnsupportedModel(f"{name} {value!r} cannot be converted: only {words} can")
    return value


def section(config: Config, name: str) -> Config:
    """An object within; {} if there is none.

    Raises:
        UnsupportedModel: it is something else.
    """
    value = config.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnsupportedModel(f"config.json says {name} = {value!r}, which is no object")
    return value


def refuse(config: Config, *flags: str, because: str) -> None:
    """Check that none of the flags is set.

    Raises:
        UnsupportedModel: one is.
    """
    for flag in flags:
        if config.get(flag):
            raise UnsupportedModel(f"{flag} is set in config.json: {because}")


def per_head(width: int, heads: int) -> int:
    """The width of one attention head.

    Raises:
        UnsupportedModel: the heads do not divide the width.
    """
    if width % heads:
        raise UnsupportedModel(f"hidden_size {width} is no multiple of num_attention_heads {heads}")
    return width // heads
