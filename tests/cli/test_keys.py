"""`rerankd keys`."""

import json
from pathlib import Path

import pytest

from cli_runs import Run
from rerankd.http.auth import load_keys
from rerankd.keys import file as keys_file
from rerankd.settings import AuthSettings
from rerankd.types import Scope


def test_a_new_key_is_printed_once_and_opens_the_server(run: Run) -> None:
    done = run("keys", "new", "team-a", "--file", "keys")
    assert done.code == 0, done.err
    key = done.out.strip()
    keys = load_keys(AuthSettings(keys_file=Path("keys")))
    assert keys.caller({"x-api-key": key}).name == "team-a"
    listed = run("keys", "list", "--file", "keys")
    assert listed.out.startswith("team-a\t")
    assert key not in listed.out + Path("keys").read_text("utf-8")


def test_scopes_and_expiry_are_kept_and_listed(run: Run) -> None:
    made = run(
        "keys", "new", "ops", "--scope", "metrics", "--scope", "admin", "--expires", "90d", "--file", "k", "--json"
    )
    told = json.loads(made.out)
    assert told["key"].startswith(f"rk_{told['id']}_")
    listed = json.loads(run("keys", "list", "--file", "k", "--json").out)
    assert listed["keys"] == [{name: value for name, value in told.items() if name != "key"}]
    assert told["scopes"] == ["admin", "metrics"]
    (record,) = keys_file.read(Path("k")).records
    assert record.scopes == {Scope.ADMIN, Scope.METRICS}
    assert record.expires
    assert record.created
    assert (record.expires - record.created).days == 90


def test_limits_of_its_own_are_kept_listed_changed_and_taken_back(run: Run) -> None:
    own = ("--limit", "600 Requests per minute", "--limit", "5 pairs/day")
    made = json.loads(run("keys", "new", "a", *own, "--file", "k", "--json").out)
    run("keys", "new", "b", "--file", "k")
    assert made["limits"] == ["600 requests/minute", "5 pairs/day"]
    assert run("keys", "list", "--file", "k").out.splitlines()[0].endswith("600 requests/minute, 5 pairs/day")
    for limits in (("7 tokens/10 seconds",), ()):
        assert run("keys", "limit", "a", *limits, "--file", "k").code == 0
        first, second = keys_file.read(Path("k")).records
        assert (first.limits, second.limits) == (limits, ())
        assert load_keys(AuthSettings(keys_file=Path("k"))).caller({"x-api-key": made["key"]}).limits == limits
    assert run("keys", "limit", "nobody", "--file", "k").code == 3
    for refused in (("limit", "a", "many"), ("new", "c", "--limit", "0 requests/minute")):
        wrong = run("keys", *refused, "--file", "k")
        assert wrong.code == 2
        assert "such as 600 requests/minute" in wrong.err


def test_a_revoked_key_is_gone_and_an_unknown_one_is_named(run: Run) -> None:
    run("keys", "new", "a", "--file", "k")
    assert run("keys", "revoke", "a", "--file", "k").code == 0
    assert run("keys", "list", "--file", "k").out == ""
    again = run("keys", "revoke", "a", "--file", "k")
    assert (again.code, again.err) == (3, "rerankd: no key is called 'a' (there are: none)\n")


def test_the_file_of_the_settings_is_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("keys", "list").code == 2
    monkeypatch.setenv("RERANKD_AUTH__KEYS_FILE", "ours")
    assert run("keys", "new", "a").code == 0
    assert run("keys", "list").out.startswith("a\t")


@pytest.mark.parametrize(
    "arguments", [("a b",), ("a", "--expires", "soon"), ("a", "--expires", "2001-01-01"), ("a", "--scope", "all")]
)
def test_what_makes_no_sense_is_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("keys", "new", *arguments, "--file", "k").code == 2
