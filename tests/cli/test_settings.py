"""`rerankd config` tells every value, its origin and every mistake, and never a secret."""

import json
from pathlib import Path

import pytest

from cli_runs import Run
from rerankd import config


def test_show_names_every_setting_and_its_origin(run: Run, monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    (workdir / "rerankd.toml").write_text("[server]\nport = 7\n")
    monkeypatch.setenv("RERANKD_LOGGING__LEVEL", "debug")
    rows = [line.split("\t") for line in run("config", "show").out.splitlines()]
    assert [row[0] for row in rows] == [setting.name for setting in config.declared()]
    assert ["server.port", "7", "rerankd.toml"] in rows
    assert ["logging.level", "debug", "$RERANKD_LOGGING__LEVEL"] in rows
    assert ["auth.allow_open", "false", "default"] in rows
    shown = json.loads(run("config", "show", "--json").out)
    assert shown["server.port"] == {"value": 7, "origin": "rerankd.toml"}
    assert shown["models.store"] == {"value": None, "origin": "default"}


def test_show_hides_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKD_AUTH__KEYS", "sesame,open")
    monkeypatch.setenv("RERANKD_CACHE__URL", "redis://me:sesame@host/0")
    for arguments in (("config", "show"), ("config", "show", "--json")):
        out = run(*arguments).out
        assert "sesame" not in out
        assert "redis://(hidden)@host/0" in out
    assert json.loads(run("config", "show", "--json").out)["auth.keys"]["value"] == ["(hidden)", "(hidden)"]


def test_check_is_content_with_a_right_file(run: Run, workdir: Path) -> None:
    (workdir / "mine.toml").write_text("[server]\nport = 7\n")
    outcome = run("config", "check", "mine.toml")
    assert (outcome.code, outcome.out) == (0, "ok: mine.toml, 1 settings given\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[server]\nprot = 7\n", "did you mean server.port?"),
        ("[server]\nport = -7\n", "server.port = -7, from mine.toml"),
        ('[models]\ndefault = "no-such-model"\n', "'no-such-model' is not known"),
        ('[auth]\nkeys_file = "gone"\n', "auth.keys_file"),
        ("=", "is not TOML"),
    ],
)
def test_check_tells_a_mistake_in_one_line(run: Run, workdir: Path, content: str, told: str) -> None:
    (workdir / "mine.toml").write_text(content)
    outcome = run("config", "check", "mine.toml")
    assert outcome.code == 3
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_check_of_a_file_that_is_not_there(run: Run) -> None:
    assert run("config", "check", "gone.toml").code == 3


def test_check_refuses_an_address_that_serve_would_refuse(run: Run, workdir: Path) -> None:
    (workdir / "open.toml").write_text('[server]\nhost = "0.0.0.0"\n')
    refused = run("config", "check", "open.toml")
    assert refused.code == 3
    assert "no API key is set" in refused.err
    (workdir / "keyed.toml").write_text('[server]\nhost = "0.0.0.0"\n[auth]\nkeys = ["one"]\n')
    assert run("config", "check", "keyed.toml").code == 0
