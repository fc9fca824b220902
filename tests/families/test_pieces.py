"""Pieces of a long document fit, overlap, and leave nothing out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from rerankd.families._pieces import split_document
from rerankd.families.base import Pieces, Splitting

WORDS = ["one", "two", "three", "four", "five", "six", ".", "。"]


def tokenizer(limit: int | None = None) -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*WORDS, "?"])}, unk_token="?"))  # pyright: ignore[reportCallIssue]
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    if limit:
        made.enable_truncation(limit)
    return made


def split(text: str, room: int, *, overlap: int = 2, most: int = 1000, tokens: int | None = None) -> Pieces:
    return split_document(tokenizer(), text, room, Splitting(overlap, most, tokens))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), max_size=200), st.integers(1, 40), st.integers(0, 50))
def test_every_word_is_in_a_piece_in_order_and_no_piece_is_too_long(stops: list[bool], room: int, overlap: int) -> None:
    words = [word for i, stop in enumerate(stops) for word in (f"w{i}", *(["."] if stop else []))]
    pieces = split(" ".join(words), room, overlap=overlap)
    assert not pieces.cut
    assert all(len(piece.split()) <= room for piece in pieces.texts)
    seen = [word for piece in pieces.texts for word in piece.split() if word != "."]
    assert list(dict.fromkeys(seen)) == [f"w{i}" for i in range(len(stops))]


def test_a_text_that_fits_comes_back_as_it_is() -> None:
    assert split("  one two  ", 2) == Pieces(("  one two  ",), cut=False)
    assert split("", 2) == Pieces(("",), cut=False)


def test_pieces_end_at_a_sentence_where_one_is_near() -> None:
    text = "one two three four five six one two . three four five six one two three four"
    pieces = split(text, 14, overlap=0)
    assert pieces.texts[0].endswith("two .")


def test_neighbouring_pieces_share_their_overlap() -> None:
    text = " ".join(["one", "two", "three", "four", "five"] * 20)
    pieces = split(text, 24, overlap=5)
    for before, after in zip(pieces.texts, pieces.texts[1:], strict=False):
        assert before.split()[-5:] == after.split()[:5]


def test_what_is_beyond_the_last_piece_allowed_is_said_to_be_cut() -> None:
    text = "one two three four five " * 100
    pieces = split(text, 20, most=3)
    assert (len(pieces.texts), pieces.cut) == (3, True)
    assert split(text, 20, most=1000).cut is False


def test_a_limit_on_tokens_cuts_the_document_first() -> None:
    assert split("one two three four", 10, tokens=2) == Pieces(("one two",), cut=True)
    assert split("one two", 10, tokens=2) == Pieces(("one two",), cut=False)
    assert split("one two " * 50, 10, tokens=30).cut


def test_a_document_of_megabytes_costs_what_its_pieces_cost() -> None:
    pieces = split("one two three four five " * 500_000, 20, most=2)
    assert (len(pieces.texts), pieces.cut) == (2, True)


@pytest.mark.parametrize("limit", [3, 7, 50])
def test_a_tokenizer_that_truncates_is_read_to_the_end(limit: int) -> None:
    text = "one two three four five six " * 5
    splitting = Splitting(1, 100)
    assert split_document(tokenizer(limit), text, 8, splitting) == split_document(tokenizer(), text, 8, splitting)
