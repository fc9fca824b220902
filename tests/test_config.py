"""Settings come from defaults, file, environment and flags, and a mistake in any of them is told with its remedy."""

import json
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from rerankd import config
from rerankd.errors import ConfigError
from rerankd.settings import Settings

NAMES = [setting.name for setting in config.declared()]


@pytest.fixture
def toml(workdir: Path) -> Path:
    return workdir / config.FILE_NAME


def refusal(
    environ: dict[str, str] | None = None, flags: dict[str, str | list[str]] | None = None, file: Path | None = None
) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ=environ or {}, flags=cast("dict[str, str]", flags))
    return str(caught.value)


def test_without_anything_all_is_default(workdir: Path) -> None:
    loaded = config.load(environ={})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert list(loaded.origins) == NAMES
    assert loaded.file is None


def test_flags_beat_variables_beat_the_file_field_by_field(toml: Path) -> None:
    toml.write_text('[server]\nport = 1\nhost = "::1"\nmax_connections = 5\n')
    loaded = config.load(
        environ={"RERANKD_SERVER__PORT": "2", "RERANKD_SERVER__MAX_CONNECTIONS": "6"}, flags={"server.port": "3"}
    )
    server = loaded.settings.server
    assert (server.port, server.max_connections, server.host) == (3, 6, "::1")
    assert loaded.origins["server.port"] == "--server.port"
    assert loaded.origins["server.max_connections"] == "$RERANKD_SERVER__MAX_CONNECTIONS"
    assert loaded.origins["server.host"] == "rerankd.toml"
    assert loaded.origins["server.max_body_mb"] == "default"
    assert loaded.file == Path("rerankd.toml")


def test_a_named_file_replaces_the_one_in_the_working_directory(toml: Path, tmp_path: Path) -> None:
    toml.write_text("[server]\nport = 1\n")
    by_variable, by_argument = tmp_path / "a.toml", tmp_path / "b.toml"
    by_variable.write_text("[server]\nport = 2\n")
    by_argument.write_text("[server]\nport = 3\n")
    environ = {"RERANKD_CONFIG": str(by_variable)}
    assert config.load(environ=environ).settings.server.port == 2
    assert config.load(by_argument, environ=environ).settings.server.port == 3
    assert config.load(environ={"RERANKD_CONFIG": ""}).settings.server.port == 1


def test_a_file_that_is_named_must_exist(workdir: Path) -> None:
    assert "'gone.toml' does not exist" in refusal(file=Path("gone.toml"))
    assert "$RERANKD_CONFIG" in refusal({"RERANKD_CONFIG": "gone.toml"})


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"[server]\n[server]\n"])
def test_a_file_that_is_no_toml_is_refused(toml: Path, content: bytes) -> None:
    toml.write_bytes(content)
    assert "'rerankd.toml' is not TOML" in refusal()


def test_a_folder_is_no_settings_file(workdir: Path) -> None:
    assert "cannot be read" in refusal(file=workdir)


def test_a_byte_order_mark_is_read_over(toml: Path) -> None:
    toml.write_bytes(b"\xef\xbb\xbf[server]\nport = 9\n")
    assert config.load(environ={}).settings.server.port == 9


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("RERANKD_SERVER_PORT", "RERANKD_SERVER__PORT"),
        ("RERANKD_PORT", "RERANKD_SERVER__PORT"),
        ("RERANKD_SERVR__PORT", "RERANKD_SERVER__PORT"),
        ("rerankd_server__port", "RERANKD_SERVER__PORT"),
        ("RERANKD_LOG_LEVEL", "RERANKD_LOGGING__LEVEL"),
        ("RERANKD_SERVER__MAX_DOCUMENTS", "RERANKD_LIMITS__MAX_DOCUMENTS"),
        ("RERANKD_MODEL", "RERANKD_MODELS__DEFAULT"),
        ("RERANKD_API_KEYS_FILE", "RERANKD_AUTH__KEYS_FILE"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_meant(workdir: Path, variable: str, meant: str) -> None:
    message = refusal({variable: "secret-value"})
    assert f"unknown variable {variable};" in message
    assert meant in message
    assert "secret-value" not in message


def test_a_misspelt_variable_is_refused_even_if_it_is_empty(workdir: Path) -> None:
    assert "RERANKD_SERVER__PORT" in refusal({"RERANKD_SERVER_PORT": ""})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[server]\nprot = 1", "unknown setting 'server.prot' in rerankd.toml; did you mean server.port?"),
        ("[servr]\nport = 1", "unknown setting 'servr' in rerankd.toml; the settings of that section are server.host"),
        ("[servr]", "unknown setting 'servr'"),
        ("port = 1", "unknown setting 'port' in rerankd.toml; did you mean server.port?"),
        ("server = 1", "'server' in rerankd.toml is a section: write [server]"),
        ('"server.prot" = 1', "did you mean server.port?"),
        ("[server.port]\nx = 1", "server.port = {'x': 1}, from rerankd.toml: must be an integer"),
        ("[server]\nport = true", "server.port = True"),
        ("[server]\nport = 65536", "server.port = 65536, from rerankd.toml: must be an integer, at least 0, at most"),
        ("[server]\nbody_timeout_s = inf", "server.body_timeout_s = inf"),
        ("[models]\nserved = [1]", "models.served = 1"),
        ('[server]\nhost = ""', "must be text, not empty"),
        ("[quite]\ndifferent = 1", "`rerankd config show` lists all settings"),
    ],
)
def test_a_mistake_in_the_file_is_told(toml: Path, content: str, told: str) -> None:
    toml.write_text(content)
    assert told in refusal()


def test_every_mistake_is_told_at_once(toml: Path) -> None:
    toml.write_text("[server]\nprot = 1\nport = -1\n")
    lines = refusal({"RERANKD_X": "1"}, {"logging.level": "loud"}).splitlines()
    assert len(lines) == 4
    assert "logging.level = 'loud', from --logging.level: must be debug, info, warning or error" in lines


def test_an_empty_variable_is_as_if_unset(toml: Path) -> None:
    toml.write_text("[server]\nport = 7\n")
    loaded = config.load(environ={"RERANKD_SERVER__PORT": "", "RERANKD_SERVER__HOST": ""})
    assert (loaded.settings.server.port, loaded.settings.server.host) == (7, "127.0.0.1")
    assert loaded.origins["server.host"] == "default"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("RERANKD_SERVICE_HOST", "10.0.0.1"),
        ("RERANKD_SERVICE_PORT", "8036"),
        ("RERANKD_SERVICE_PORT_HTTP", "8036"),
        ("RERANKD_PORT", "tcp://10.0.0.1:8036"),
        ("RERANKD_PORT_8036_TCP", "tcp://10.0.0.1:8036"),
        ("RERANKD_PORT_8036_TCP_ADDR", "10.0.0.1"),
        ("RERANKD_GPU_SERVICE_HOST", "10.0.0.1"),
        ("RERANKD_GPU_PORT", "tcp://10.0.0.1:8036"),
    ],
)
def test_what_kubernetes_and_docker_put_in_is_passed_over(workdir: Path, variable: str, text: str) -> None:
    assert config.load(environ={variable: text}).settings == Settings()


@pytest.mark.parametrize(("text", "served"), [("a, b", ("a", "b")), ('["a,b"]', ("a,b",)), ("a", ("a",)), ("[]", ())])
def test_a_list_is_json_or_separated_by_commas(workdir: Path, text: str, served: tuple[str, ...]) -> None:
    assert config.load(environ={"RERANKD_MODELS__SERVED": text}).settings.models.served == served
    assert config.load(environ={}, flags={"models.served": text}).settings.models.served == served


def test_a_list_may_come_from_several_flags(workdir: Path) -> None:
    loaded = config.load(environ={}, flags={"models.served": ["a", "b,c"]})
    assert loaded.settings.models.served == ("a", "b,c")


def test_values_are_read_as_people_write_them(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(toml.parent))
    toml.write_text('[models]\nstore = "~/store"\n[auth]\nkeys_file = ""\n')
    environ = {"RERANKD_LOGGING__LEVEL": "INFO", "RERANKD_LOGGING__ACCESS": "False"}
    settings = config.load(environ=environ).settings
    assert settings.models.store == toml.parent / "store"
    assert settings.auth.keys_file is None
    assert (settings.logging.level, settings.logging.access) == ("info", False)


@pytest.mark.parametrize("text", ["[1", '["sesame", 1]', '["sesame", ""]'])
def test_a_key_never_stands_in_a_message_or_its_cause(workdir: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(environ={"RERANKD_AUTH__KEYS": text})
    assert "auth.keys = (hidden)" in str(caught.value)
    assert "sesame" not in f"{caught.value}{caught.value.__cause__}{caught.value!r}"


def test_a_key_does_not_show_in_the_settings(workdir: Path) -> None:
    settings = config.load(environ={"RERANKD_AUTH__KEYS": "sesame"}).settings
    assert settings.auth.keys == (SecretStr("sesame"),)
    assert "sesame" not in repr(settings)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().server.port = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("setting", config.declared(), ids=NAMES)
def test_every_setting_is_documented_and_its_default_is_allowed(setting: config.Setting) -> None:
    assert setting.doc.endswith(".")
    assert setting.values
    default = setting.default
    if default is None or default == ():
        return
    loaded = config.load(environ={setting.variable: str(default)})
    assert config.value_of(loaded.settings, setting.name) == default


@given(st.data())
def test_a_setting_is_the_same_from_file_variable_and_flag(data: st.DataObject) -> None:
    values = {
        "server.port": st.integers(0, 65535),
        "server.max_body_mb": st.floats(0.001, 1024),
        "logging.level": st.sampled_from(["debug", "info", "warning", "error"]),
        "auth.allow_open": st.booleans(),
        "models.default": st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    }
    name = data.draw(st.sampled_from(sorted(values)))
    value = data.draw(values[name])
    text = value if isinstance(value, str) else json.dumps(value)
    variable = next(setting.variable for setting in config.declared() if setting.name == name)
    from_variable = config.load(environ={variable: text}).settings
    assert config.value_of(from_variable, name) == value
    assert config.load(environ={}, flags={name: text}).settings == from_variable


@given(st.sampled_from(config.declared()), st.data())
def test_one_letter_left_out_still_leads_to_the_setting(setting: config.Setting, data: st.DataObject) -> None:
    start = len(config.ENV_PREFIX)
    at = data.draw(st.integers(start, len(setting.variable) - 1))
    misspelt = setting.variable[:at] + setting.variable[at + 1 :]
    if misspelt in {each.variable for each in config.declared()}:
        return
    assert f"did you mean {setting.variable}?" in refusal({misspelt: "1"})


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.integers(), st.text(), st.none()), max_size=3))
def test_no_flag_whatever_it_holds_fails_otherwise_than_as_a_configuration_error(
    flags: dict[str, str | int | None],
) -> None:
    outcome: object = None
    try:
        outcome = config.load(environ={}, flags=cast("dict[str, str]", flags)).settings
    except ConfigError as error:
        outcome = error
    assert (outcome == Settings()) == (not flags)
