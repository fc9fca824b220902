"""docs/reference says what the code says."""

import pytest

from cli_pages import PAGES, REFERENCE, commands, filled
from rerankd import config


@pytest.mark.parametrize("page", PAGES)
def test_the_generated_part_is_up_to_date(page: str) -> None:
    assert (REFERENCE / page).read_text("utf-8") == filled(page), "run `python tests/cli_pages.py`"


def test_every_setting_and_every_command_is_documented() -> None:
    settings, program = ((REFERENCE / page).read_text("utf-8") for page in ("configuration.md", "cli.md"))
    for setting in config.declared():
        for part in (setting.name, setting.variable, setting.flag, setting.doc):
            assert part in settings
    for path, _ in commands():
        assert f"## {path}\n" in program
