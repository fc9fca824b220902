"""Settings in layers: where each value comes from.

Defaults < `rerankd.toml` < `RERANKD_SECTION__FIELD` < `--section.field`, merged field by field. A name that is no
setting is an error that names the nearest right one, wherever it stands (docs/decisions/003).
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from rerankd.errors import ConfigError
from rerankd.settings import ADDRESS, Settings, holds

ENV_PREFIX = "RERANKD_"
ENV_FILE = "RERANKD_CONFIG"
FILE_NAME = "rerankd.toml"

# Kubernetes (service links) and Docker (legacy links) put these into every container beside a service whose name
# begins with "rerankd". They are nobody's typing mistakes.
_INJECTED_NAME = re.compile(
    r"RERANKD_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT(_START|_END)?|ADDR))?)"
)
_INJECTED_PORT = re.compile(r"(tcp|udp|sctp)://.*")


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of the tree: its dotted name, what it is for, its default, and what may be written (`values`)."""

    name: str
    doc: str
    default: object
    values: str
    is_list: bool
    is_flag: bool
    is_secret: bool

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENV_PREFIX + self.name.upper().replace(".", "__")

    @property
    def flag(self) -> str:
        """The option of `rerankd serve` that sets it."""
        return f"--{self.name}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value came from: "default", a file's name, `$VARIABLE` or `--flag`.

    `file` is the settings file that was read, if any.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Given:
    """One value as somebody wrote it. `name` is a setting's dotted name, or what was written in place of one."""

    name: str
    value: object
    origin: str


def declared() -> tuple[Setting, ...]:
    """List every setting, in the order of the tree."""
    return tuple(_declared())


def value_of(settings: Settings, name: str) -> object:
    """Return the value of the setting with this dotted name."""
    section, field = name.split(".")
    return cast("object", getattr(getattr(settings, section), field))


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str | Sequence[str]] | None = None,
) -> Loaded:
    """Merge the layers.

    `file` is read if given (it must exist), else the one that RERANKD_CONFIG names, else `rerankd.toml` in the working
    directory if there is one. A variable set to "" is as if unset. `flags` maps dotted names to the text typed, or to
    several texts for a list.

    Raises:
        ConfigError: unknown names, values out of bounds, or an unreadable file; one line for each.
    """
    environ = os.environ if environ is None else environ
    file = _find_file(file, environ)
    given = [*_from_file(file), *_from_environ(environ), *_from_flags(flags or {})]
    known = {setting.name: setting for setting in declared()}
    problems = [_unknown(each, tuple(known)) for each in given if each.name not in known]
    last = {each.name: each for each in given if each.name in known}
    origins = {name: last[name].origin if name in last else "default" for name in known}
    tree: dict[str, dict[str, object]] = {}
    for name, each in last.items():
        section, field = name.split(".")
        tree.setdefault(section, {})[field] = each.value
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join([*problems, *_invalid(error, known, origins)])) from error
    if problems:
        raise ConfigError("\n".join(problems))
    return Loaded(settings, origins, file)


def _declared() -> Iterator[Setting]:
    for section, field in Settings.model_fields.items():
        model = cast("type[BaseModel]", field.annotation)
        for name, info in model.model_fields.items():
            yield Setting(
                name=f"{section}.{name}",
                doc=" ".join((info.description or "").split()),
                default=info.default,
                values=_values(info),
                is_list=get_origin(info.annotation) is tuple,
                is_flag=info.annotation is bool,
                is_secret=holds(info.annotation, SecretStr),
            )


def _values(info: FieldInfo) -> str:
    if get_origin(info.annotation) is Literal:
        *most, last = get_args(info.annotation)
        return f"{', '.join(most)} or {last}"
    if get_origin(info.annotation) is tuple:
        return "a list of texts"
    if any(getattr(part, "pattern", None) == ADDRESS for part in info.metadata):
        return "an address that begins with http:// or https://"
    kinds = {
        bool: "true or false", int: "an integer", float: "a number", Path: "a path", str: "text", SecretStr: "text",
    }  # fmt: skip
    kind = next(word for type_, word in kinds.items() if holds(info.annotation, type_))
    return kind + _bounds(info.metadata)


def _bounds(metadata: Sequence[object]) -> str:
    words = {"ge": ", at least {:g}", "gt": ", above {:g}", "le": ", at most {:g}", "min_length": ", not empty"}
    found = ((word, getattr(part, bound, None)) for part in metadata for bound, word in words.items())
    return "".join(word.format(limit) for word, limit in found if limit is not None)


def _find_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    origin = ""
    if file is None and environ.get(ENV_FILE):
        file, origin = Path(environ[ENV_FILE]).expanduser(), f" (named by ${ENV_FILE})"
    if file is None:
        return Path(FILE_NAME) if Path(FILE_NAME).exists() else None
    if not file.exists():
        raise ConfigError(f"settings file {file.name!r} does not exist{origin}")
    return file


def _from_file(file: Path | None) -> Iterator[_Given]:
    if file is None:
        return
    try:
        # Notepad begins UTF-8 files with a byte order mark, which TOML does not allow.
        tree = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"settings file {file.name!r} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"settings file {file.name!r} is not TOML in UTF-8: {error}") from error
    for section, fields in tree.items():
        if section not in Settings.model_fields or not isinstance(fields, dict):
            yield _Given(section, fields, file.name)
            continue
        for name, value in cast("dict[str, object]", fields).items():
            yield _Given(f"{section}.{name}", value, file.name)


def _from_environ(environ: Mapping[str, str]) -> Iterator[_Given]:
    by_variable = {setting.variable: setting for setting in declared()}
    for variable, text in sorted(environ.items()):
        setting = by_variable.get(variable)
        if setting is not None and text:
            yield _Given(setting.name, _parsed(text, setting), f"${variable}")
        elif setting is None and variable.upper().startswith(ENV_PREFIX) and not _is_tolerated(variable, text):
            yield _Given(variable, None, f"${variable}")


def _is_tolerated(variable: str, text: str) -> bool:
    if variable == ENV_FILE or _INJECTED_NAME.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _INJECTED_PORT.fullmatch(text) is not None


def _from_flags(flags: Mapping[str, str | Sequence[str]]) -> Iterator[_Given]:
    known = {setting.name: setting for setting in declared()}
    for name, typed in flags.items():
        setting = known.get(name)
        parsed = _parsed(typed, setting) if setting and isinstance(typed, str) else typed
        yield _Given(name, parsed, f"--{name}")


def _parsed(text: str, setting: Setting) -> object:
    """A list is JSON or comma-separated; anything else is for pydantic to read."""
    if not setting.is_list:
        return text
    if text.lstrip().startswith("["):
        try:
            return cast("object", json.loads(text))
        except ValueError:
            return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _unknown(given: _Given, known: Sequence[str]) -> str:
    sections = tuple(Settings.model_fields)
    if given.name in sections:
        return f"{given.name!r} in {given.origin} is a section: write [{given.name}], and its settings below"
    if given.origin.startswith("$"):
        what, spell = f"variable {given.name}", _as_variable
    else:
        what, spell = f"setting {given.name!r} in {given.origin}", str
    return f"unknown {what}; {_hint(given.name.removeprefix(ENV_PREFIX).lower(), known, spell)}"


def _as_variable(name: str) -> str:
    return ENV_PREFIX + name.upper().replace(".", "__")


def _hint(typed: str, known: Sequence[str], spell: Callable[[str], str]) -> str:
    nearest = _nearest(typed, known)
    if nearest:
        return f"did you mean {spell(nearest)}?"
    section = difflib.get_close_matches(typed, tuple(Settings.model_fields), n=1, cutoff=0.7)
    if section:
        names = [spell(name) for name in known if name.startswith(f"{section[0]}.")]
        return f"the settings of that section are {', '.join(names)}"
    return "`rerankd config show` lists all settings"


_USUALLY_MEANT = {"model": "models.default"}
"""What other servers call it."""


def _nearest(typed: str, known: Sequence[str]) -> str:
    """The setting meant: the same letters, then the same field in another section, then a close spelling; or ""."""
    if typed in _USUALLY_MEANT:
        return _USUALLY_MEANT[typed]
    letters = {_letters(name): name for name in known}
    if _letters(typed) in letters:
        return letters[_letters(typed)]
    field = typed.replace("__", ".").rsplit(".", 1)[-1]
    same_field = [name for name in known if name.split(".")[1] == field]
    if same_field:
        return difflib.get_close_matches(typed, same_field, n=1, cutoff=0)[0]
    close = difflib.get_close_matches(_letters(typed), letters, n=1, cutoff=0.7)
    if close:
        return letters[close[0]]
    fields = {name.split(".")[1]: name for name in known}
    return next((fields[near] for near in difflib.get_close_matches(field, fields, n=1, cutoff=0.75)), "")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)


def _invalid(error: ValidationError, known: Mapping[str, Setting], origins: Mapping[str, str]) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        setting = known[".".join(str(part) for part in problem["loc"][:2])]
        value = "(hidden)" if setting.is_secret else _shortened(problem["input"])
        yield f"{setting.name} = {value}, from {origins[setting.name]}: must be {setting.values}"


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
