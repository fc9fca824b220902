"""Keys at the door: missing, wrong, expired, of the wrong scope, changed while the server runs."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from fake_service import FakeService
from http_app import DOCUMENTS, QUERY, opened
from rerankd.errors import NotAllowed, NotAuthenticated
from rerankd.http.auth import Keys, load_keys
from rerankd.http.reload import keys_kept_fresh
from rerankd.keys import file as keys_file
from rerankd.keys.record import new_key
from rerankd.settings import AuthSettings, Settings
from rerankd.types import Scope

pytestmark = pytest.mark.anyio

BODY = {"query": QUERY, "documents": DOCUMENTS}
NOW = datetime.now(UTC)


def add(file: Path, name: str, *scopes: Scope, expires: datetime | None = None) -> str:
    key, record = new_key(name, scopes=scopes or [Scope.RERANK], created=NOW, expires=expires)
    keys_file.add(file, record)
    return key


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_a_made_key_opens_the_door_under_its_name(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add(file, "team-a")
    service = FakeService()
    async with opened(service, Settings(auth=AuthSettings(keys_file=file))) as http:
        assert (await http.post("/v1/rerank", json=BODY, headers=bearer(key))).status_code == 200
        assert (await http.post("/v1/rerank", json=BODY, headers=bearer(key[:-1]))).status_code == 401
    assert [caller.name for _, caller in service.asked] == ["team-a"]


async def test_an_expired_key_is_refused_from_that_moment_on(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key = add(file, "guest", expires=NOW + timedelta(days=1))
    records = keys_file.read(file).records
    clock = NOW
    keys = Keys(lambda: records, now=lambda: clock)
    assert keys.caller(bearer(key)).name == "guest"
    clock = NOW + timedelta(days=1)
    with pytest.raises(NotAuthenticated, match="'guest' has expired"):
        keys.caller(bearer(key))


async def test_a_key_opens_its_scopes_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keyring = {scope: add(file, scope.value, scope) for scope in Scope}
    keys = load_keys(AuthSettings(keys_file=file))
    for has, key in keyring.items():
        for needs in Scope:
            if has is needs:
                assert keys.caller(bearer(key), needs).scopes == {has}
            else:
                with pytest.raises(NotAllowed, match=f"opens {has.value}, and this needs {needs.value}"):
                    keys.caller(bearer(key), needs)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/rerank", lambda body: body["error"]["kind"] == "not_allowed"),
        ("/tei/rerank", lambda body: body["error_type"]),
        ("/cohere/v2/rerank", lambda body: body["message"]),
    ],
)
async def test_a_key_of_another_scope_is_403_in_the_callers_dialect(
    tmp_path: Path, path: str, message: Callable[[dict[str, object]], object]
) -> None:
    key = add(tmp_path / "keys", "prometheus", Scope.METRICS)
    service = FakeService()
    async with opened(service, Settings(auth=AuthSettings(keys_file=tmp_path / "keys"))) as http:
        refused = await http.post(path, json=BODY, headers=bearer(key))
        assert refused.status_code == 403
        assert message(refused.json())
        assert (await http.get("/v1/models", headers=bearer(key))).status_code == 403
    assert not service.asked


async def test_nothing_of_admins_opens_without_an_admin_key(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="there are no keys"):
        load_keys(AuthSettings()).caller({}, Scope.ADMIN)
    keys = load_keys(AuthSettings(keys=(SecretStr("user"),), admin_keys=(SecretStr("root"),)))
    with pytest.raises(NotAuthenticated):
        keys.caller({}, Scope.ADMIN)
    with pytest.raises(NotAllowed):
        keys.caller(bearer("user"), Scope.ADMIN)
    assert keys.caller(bearer("root"), Scope.ADMIN).name == "admin-1"
    assert keys.caller(bearer("root")).name == "admin-1"


async def test_metrics_are_closed_where_the_setting_says_so() -> None:
    auth = AuthSettings(keys=(SecretStr("user"),), open_metrics=False)
    async with opened(FakeService(), Settings(auth=auth)) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/metrics", headers=bearer("user"))).status_code == 200
    async with opened(FakeService(), Settings(auth=AuthSettings(keys=(SecretStr("user"),)))) as http:
        assert (await http.get("/metrics")).status_code == 200


async def _until(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    pytest.fail("not within 10 s")


def _opens(keys: Keys, key: str) -> bool:
    try:
        return bool(keys.caller(bearer(key)))
    except NotAuthenticated:
        return False


async def test_keys_come_and_go_while_the_server_runs_and_the_door_never_stands_open(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first = add(file, "first")
    keys = load_keys(AuthSettings(keys_file=file))
    async with keys_kept_fresh(keys, file, every_s=0.01):
        second = add(file, "second")
        await _until(lambda: _opens(keys, second))
        assert _opens(keys, first)
        keys_file.remove(file, "first")
        await _until(lambda: not _opens(keys, first))
        keys_file.remove(file, "second")
        await _until(lambda: not _opens(keys, second))
        assert keys, "the last key is gone, and the door is shut"


async def test_a_damaged_file_leaves_the_keys_as_they_were(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    key = add(file, "first")
    keys = load_keys(AuthSettings(keys_file=file))
    async with keys_kept_fresh(keys, file, every_s=0.01):
        file.write_text("{", "utf-8")
        await _until(lambda: "not read again" in caplog.text)
        assert _opens(keys, key)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
async def test_a_hangup_reads_the_keys_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    add(file, "first")
    keys = load_keys(AuthSettings(keys_file=file))
    async with keys_kept_fresh(keys, file, every_s=3600):
        second = add(file, "second")
        os.kill(os.getpid(), signal.SIGHUP)
        await _until(lambda: _opens(keys, second))
