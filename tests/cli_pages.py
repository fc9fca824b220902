"""The generated parts of docs/reference: `python tests/cli_pages.py` writes them, a test compares them."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from rerankd import config
from rerankd.cli.main import app
from rerankd.settings import Settings

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
PAGES = ("cli.md", "configuration.md")


def commands(group: click.Group = app, path: str = "rerankd") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups before what is in them."""
    for name, command in sorted(group.commands.items()):
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def filled(page: str) -> str:
    """The page's text with its generated part renewed."""
    text = (REFERENCE / page).read_text("utf-8")
    part = "".join(_settings() if page == "configuration.md" else _commands())
    pattern = r"(<!-- generated: .*? -->\n).*?(\n<!-- end -->)"
    return re.sub(pattern, lambda found: found[1] + part.rstrip("\n") + found[2], text, flags=re.DOTALL)


def _settings() -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        yield f"## [{section}]\n\n{(field.annotation.__doc__ or '').strip()}\n\n"
        yield "| setting | variable | flag | value | default | |\n|---|---|---|---|---|---|\n"
        for setting in config.declared():
            if setting.name.startswith(f"{section}."):
                yield (
                    f"| `{setting.name}` | `{setting.variable}` | `{setting.flag}` | {setting.values} "
                    f"| {_default(setting)} | {setting.doc} |\n"
                )
        yield "\n"


def _default(setting: config.Setting) -> str:
    if setting.default is None or setting.default == ():
        return "none"
    return f"`{str(setting.default).lower() if setting.is_flag else setting.default}`"


def _commands() -> Iterator[str]:
    for path, command in commands():
        context = click.Context(command, info_name=path)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        yield f"## {path}\n\n```\n{usage}\n```\n\n{_unwrapped(command.help or '')}\n\n"
        options = [option for option in command.params if isinstance(option, click.Option)]
        if options:
            yield "| option | |\n|---|---|\n"
        for option in options:
            record = option.get_help_record(context)
            if record:
                yield f"| `{record[0].replace('|', ' or ')}` | {record[1]} |\n"
        yield "\n"


def _unwrapped(text: str) -> str:
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    for name in PAGES:
        (REFERENCE / name).write_text(filled(name), "utf-8")
