"""Keys, their file, and whose they are."""

import hmac
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.errors import ConfigError
from rerankd.keys import file as keys_file
from rerankd.keys.record import KeyRecord, chosen_key, digest, id_of, new_key
from rerankd.keys.ring import KeyRing
from rerankd.types import Scope

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def made(name: str, *, expires: datetime | None = None) -> tuple[str, KeyRecord]:
    return new_key(name, scopes=[Scope.RERANK], created=NOW, expires=expires)


def test_a_key_finds_its_own_record_and_no_other() -> None:
    pairs = [made(f"k{i}") for i in range(20)]
    ring = KeyRing([record for _, record in pairs])
    assert [ring.find(key) for key, _ in pairs] == [record for _, record in pairs]


@given(st.text(max_size=80))
def test_no_other_text_is_a_key(text: str) -> None:
    key, record = made("a")
    salt = b"s" * 16
    ring = KeyRing([record, chosen_key("sesame", "b", salt)])
    assert ring.find(text) is (None if text != "sesame" else ring.records[1])
    assert ring.find(key + text) is (record if not text else None)
    # The public part alone opens nothing.
    assert ring.find(f"rk_{record.id}_" + (text + "x" * 43)[:43]) is None


def test_the_same_work_is_done_for_a_right_a_wrong_and_an_unknown_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(len(a)) or compare(a, b))
    pairs = [made(f"k{i}") for i in range(5)]
    ring = KeyRing([*(record for _, record in pairs), *(chosen_key(f"c{i}", f"c{i}", b"s" * 16) for i in range(3))])
    wrong = pairs[0][0][:-1] + ("A" if pairs[0][0][-1] != "A" else "B")
    counts: list[int] = []
    for text in (pairs[0][0], pairs[4][0], wrong, made("stranger")[0], "c0", "c2", "nonsense", ""):
        compared.clear()
        ring.find(text)
        counts.append(len(compared))
        assert set(compared) == {32}, "digests are compared, never keys"
    assert set(counts) == {4}


def test_the_file_holds_nothing_of_the_secret_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    key, record = made("team")
    keys_file.add(file, record)
    text = file.read_text("utf-8")
    assert key.rpartition("_")[2] not in text
    assert id_of(key) in text
    assert file.stat().st_mode & 0o777 == 0o600
    assert keys_file.read(file).records == (record,)
    assert digest(key, record.salt) == record.digest


def test_what_is_written_is_read_back_and_revoked_by_name_or_id(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nsecret-in-clear\n", "utf-8")
    records = [made(f"k{i}", expires=NOW + timedelta(days=i))[1] for i in range(3)]
    for record in records:
        keys_file.add(file, record)
    assert keys_file.remove(file, "k0") == records[0]
    assert keys_file.remove(file, records[1].id) == records[1]
    left = keys_file.read(file)
    assert (left.records, left.clear) == ((records[2],), ("secret-in-clear",))
    assert file.read_text("utf-8").startswith("# ours\n")
    with pytest.raises(ConfigError, match=r"no key is called 'k0' \(there are: k2\)"):
        keys_file.remove(file, "k0")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    keys_file.add(tmp_path / "keys", made("team")[1])
    with pytest.raises(ConfigError, match="'team' is there already"):
        keys_file.add(tmp_path / "keys", made("team")[1])


def test_changes_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    records = [made(f"k{i}")[1] for i in range(12)]
    threads = [threading.Thread(target=keys_file.add, args=(file, record)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {record.name for record in keys_file.read(file).records} == {record.name for record in records}


@pytest.mark.parametrize("line", ["{", "{}", '{"name": "a"}', "[1]", '{"scopes": null, "name": "a"}'])
def test_a_damaged_line_is_named_by_its_number_only(tmp_path: Path, line: str) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# x\n{line}\n", "utf-8")
    if line.startswith("{"):
        with pytest.raises(ConfigError, match=r"'keys', line 2") as caught:
            keys_file.read(file)
        assert str(tmp_path) not in str(caught.value)
    else:
        assert keys_file.read(file).clear == (line,)


def test_an_unknown_scope_is_damage_and_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys_file.add(file, made("team")[1])
    file.write_text(file.read_text("utf-8").replace('"rerank"', '"everything"'), "utf-8")
    with pytest.raises(ConfigError, match="line 3"):
        keys_file.read(file)


def test_a_time_without_a_zone_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys_file.add(file, made("team", expires=NOW)[1])
    line = json.loads(file.read_text("utf-8").splitlines()[-1])
    file.write_text(json.dumps({**line, "expires": "2026-11-21T00:00:00"}), "utf-8")
    with pytest.raises(ConfigError, match="line 1"):
        keys_file.read(file)
