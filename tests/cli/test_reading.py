"""Documents are read from lines, JSON and JSON Lines, and what cannot be read is told with its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerankd.cli import reading
from rerankd.errors import InvalidRequest


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.txt", "[1] note", "lines"),
        ("a.JSON", "x", "json"),
        ("a.jsonl", "[", "jsonl"),
        ("a.ndjson", "", "jsonl"),
        ("-", ' \n["a"]', "json"),
        ("-", '{"text": "a"}', "jsonl"),
        ("-", '"a"', "jsonl"),
        ("notes.md", "# a", "lines"),
        ("-", "", "lines"),
    ],
)
def test_the_ending_decides_then_the_first_character(name: str, text: str, form: str) -> None:
    assert reading.detect(name, text) == form


def test_blank_lines_are_skipped_and_other_separators_are_kept() -> None:
    assert reading.documents("a\r\n\n  \n b\u2028c\x0cd \n", "lines") == ["a", " b\u2028c\x0cd "]


def test_json_holds_texts_or_objects_with_a_text() -> None:
    documents = ["a", {"text": "b", "id": 1}, ""]
    assert reading.documents(json.dumps(documents), "json") == ["a", "b", ""]
    assert reading.documents("\n\n".join(map(json.dumps, documents)), "jsonl") == ["a", "b", ""]


@pytest.mark.parametrize(
    ("text", "form", "told"),
    [
        ('["a"', "json", "the documents: not JSON"),
        ('{"text": "a"}', "json", "no JSON list"),
        ('["a", 3]', "json", "item 1: a document is a text"),
        ('"a"\n{"body": "b"}', "jsonl", "line 2: a document is a text"),
        ('"a"\n\nb', "jsonl", "line 3: not JSON"),
        ("[" * 100_000, "json", "not JSON"),
        (" \n", "lines", "no documents"),
        ("[]", "json", "no documents"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, form: reading.Format, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        reading.documents(text, form)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding(encoding: str) -> None:
    assert reading.decode("猫".encode(encoding), "utf-8") == "猫"


def test_another_encoding_is_refused_by_line_and_read_by_name() -> None:
    data = b"ascii\n" + "重排序".encode("gb18030")
    assert reading.decode(data, "gb18030") == "ascii\n重排序"
    with pytest.raises(InvalidRequest, match=r"line 2 .* is not utf-8: .*--encoding gb18030"):
        reading.decode(data, "utf-8")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")).filter(str.strip), min_size=1))
def test_documents_come_out_as_they_went_in(texts: list[str]) -> None:
    data = "\n".join(texts).encode()
    if not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        assert reading.documents(reading.decode(data, "utf-8"), "lines") == texts
    assert reading.documents(json.dumps(texts), "json") == texts
