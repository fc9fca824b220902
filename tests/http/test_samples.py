"""Texts in the log: none, unless somebody asked for a sample, and then without what names a person."""

import pytest

from fake_service import FakeService
from http_app import opened
from rerankd.http.samples import redacted
from rerankd.settings import LoggingSettings, Settings

BODY = {
    "query": "call +49 170 1234567 or mail jo.doe@example.org",
    "documents": ["key sk-abcDEF0123456789abcdef0123", "plain 中文 text", "x" * 5000, "the fourth is never shown"],
}


@pytest.mark.anyio
async def test_by_default_no_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with opened(FakeService()) as http:
        await http.post("/v1/rerank", json=BODY)
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert not any(part in logged for part in ("1234567", "example.org", "中文", "xxxx"))


@pytest.mark.anyio
async def test_a_sample_is_short_and_redacted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with opened(FakeService(), Settings(logging=LoggingSettings(sample_texts=1))) as http:
        await http.post("/v1/rerank", json=BODY)
    (record,) = [record for record in caplog.records if record.name == "rerankd.samples"]
    fields = vars(record)
    assert fields["query"] == "call [number] or mail [email]"
    assert fields["documents"] == ["key [key]", "plain 中文 text", "x" * 199 + "…"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ID 11010519491231002X, Karte 4111 1111 1111 1111", "ID [number], Karte [number]"),
        ("postgres://user:pw@db.example/x", "postgres://[login]@db.example/x"),
        ("in 2024, 3.14 and GPT-4", "in 2024, 3.14 and GPT-4"),
        ("rk_0123456789ab_" + "aB3-_" * 8, "[key]"),
    ],
)
def test_what_names_a_person_or_opens_a_door_is_taken_out(text: str, shown: str) -> None:
    assert redacted(text) == shown
