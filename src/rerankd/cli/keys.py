"""`rerankd keys`: make, list, limit and revoke API keys. A running server notices within a second."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rerankd.cli.options import config_option, debug_option, json_option, load_settings
from rerankd.cli.output import Column, note, print_json, print_rows
from rerankd.types import JsonValue, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerankd.keys.record import KeyRecord

_Decorated = TypeVar("_Decorated", bound="Callable[..., Any]")

_COLUMNS = (Column("name"), Column("id"), Column("scopes"), Column("created"), Column("expires"), Column("state"),
            Column("limits"))  # fmt: skip
_DAYS = re.compile(r"([1-9][0-9]{0,4})d")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@click.group(invoke_without_command=True)
@debug_option
@click.pass_context
def keys(context: click.Context) -> None:
    """Make, list, limit and revoke API keys."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _file_option(decorated: _Decorated) -> _Decorated:
    return click.option(
        "--file", type=click.Path(path_type=Path), metavar="FILE", help="The keys file; by default auth.keys_file."
    )(decorated)


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("rerank",),
    show_default=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the key opens; may be repeated. admin alone does not rank.",
)
@click.option("--expires", metavar="WHEN", help="The last day (2027-01-31, in UTC), or a number of days (90d).")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help='A limit of its own, such as "600 requests/minute", instead of those of limits.per_key; may be repeated.',
)
@_file_option
@config_option
@json_option
@debug_option
def new(
    *,
    name: str,
    scopes: Sequence[str],
    expires: str | None,
    limits: Sequence[str],
    file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """Make a key for NAME and print it: this once, for only its digest is kept."""
    from rerankd.keys import file as keys_file
    from rerankd.keys.record import new_key

    if not _NAME.fullmatch(name):
        raise click.BadParameter("a name is 1 to 64 letters, digits and ._@-", param_hint="NAME")
    now = datetime.now(UTC).replace(microsecond=0)
    where = _file(file, config_file)
    key, record = new_key(
        name,
        scopes=[Scope(scope) for scope in scopes],
        created=now,
        expires=_end(expires, now) if expires else None,
        limits=_checked(limits),
    )
    keys_file.add(where, record)
    if as_json:
        print_json({"key": key, **_facts(record)})
        return
    click.echo(key)
    note(f"The key of {name}; it is not shown again. A server uses it that has --auth.keys_file {where.name}.")


@keys.command("list")
@_file_option
@config_option
@json_option
@debug_option
def list_keys(file: Path | None, config_file: Path | None, as_json: bool) -> None:
    """List the keys of a file, without the keys."""
    from rerankd.keys import file as keys_file

    lines = keys_file.read(_file(file, config_file))
    if as_json:
        print_json({"keys": [_facts(record) for record in lines.records], "in_clear": len(lines.clear)})
        return
    print_rows(_COLUMNS, [_row(record) for record in lines.records])
    if lines.clear:
        note(f"{len(lines.clear)} more stand in the file in clear: `rerankd keys new` keeps digests only.")


@keys.command()
@click.argument("name_or_id", metavar="NAME")
@click.argument("limits", metavar="[LIMIT]...", nargs=-1)
@_file_option
@config_option
@debug_option
def limit(name_or_id: str, limits: Sequence[str], file: Path | None, config_file: Path | None) -> None:
    """Give a key limits of its own, such as "600 requests/minute"; without any, those of all keys again.

    A limit of its own stands in place of those of limits.per_key in the same unit (requests, pairs or tokens).
    """
    from rerankd.keys import file as keys_file

    record = keys_file.limit(_file(file, config_file), name_or_id, _checked(limits))
    note(f"{record.name} ({record.id}): {', '.join(record.limits) or 'the limits of all keys'}.")


@keys.command()
@click.argument("name_or_id", metavar="NAME")
@_file_option
@config_option
@debug_option
def revoke(name_or_id: str, file: Path | None, config_file: Path | None) -> None:
    """Take a key out of the file, by its name or id. Running servers refuse it within a second."""
    from rerankd.keys import file as keys_file

    record = keys_file.remove(_file(file, config_file), name_or_id)
    note(f"Revoked {record.name} ({record.id}).")


def _file(file: Path | None, config_file: Path | None) -> Path:
    found = file or load_settings(config_file).settings.auth.keys_file
    if found is None:
        raise click.UsageError("Say which file: --file keys.txt, or set auth.keys_file (RERANKD_AUTH__KEYS_FILE).")
    return found


def _checked(limits: Sequence[str]) -> Sequence[str]:
    from rerankd.errors import ConfigError
    from rerankd.service.quotas import read_quota

    try:
        return [read_quota(text).text for text in limits]
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="LIMIT") from error


def _end(text: str, now: datetime) -> datetime:
    """Read the end of a key's life: after its last day, or so many days from now."""
    days = _DAYS.fullmatch(text)
    try:
        if days:
            return now + timedelta(days=int(days[1]))
        last = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        end = datetime.combine(last.date() + timedelta(days=1), time(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter("write a day as 2027-01-31, or days as 90d", param_hint="--expires") from error
    if end <= now:
        raise click.BadParameter(f"{text} is over", param_hint="--expires")
    return end


def _row(record: "KeyRecord") -> tuple[str, ...]:
    return (record.name, record.id, ", ".join(sorted(record.scopes)), _day(record.created) or "-",
            _day(record.expires) or "never", _state(record), ", ".join(record.limits) or "-")  # fmt: skip


def _facts(record: "KeyRecord") -> dict[str, JsonValue]:
    return {
        "name": record.name,
        "id": record.id,
        "scopes": sorted(record.scopes),
        "created": record.created.isoformat() if record.created else None,
        "expires": record.expires.isoformat() if record.expires else None,
        "limits": list(record.limits),
        "state": _state(record),
    }


def _state(record: "KeyRecord") -> str:
    return "expired" if record.expired(datetime.now(UTC)) else "valid"


def _day(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M") if time else ""
