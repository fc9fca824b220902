"""The built-in texts: requests that int8 is measured on, and others that it is fitted to. Chinese, English and both.

Written for rerankd: everyday questions, each with documents that answer it, half answer it, or only share its words,
from one line to some 300 tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TypedDict, cast


class _Topic(TypedDict):
    query: str
    documents: list[str]


@dataclass(frozen=True, slots=True)
class Request:
    """A query and its documents."""

    query: str
    documents: Sequence[str]


DOCUMENTS = 12
"""In each request that is measured: the topic's own, and others from the topics after it."""


@cache
def measured() -> Sequence[Request]:
    """Requests to measure agreement on."""
    topics = _topics("measured")
    requests: list[Request] = []
    for place, topic in enumerate(topics):
        others = [topics[(place + step) % len(topics)]["documents"] for step in range(1, len(topics))]
        # One document of each other topic, another one each time, so that lengths mix.
        picked = [documents[(place + step) % len(documents)] for step, documents in enumerate(others)]
        requests.append(Request(topic["query"], (*topic["documents"], *picked)[:DOCUMENTS]))
    return tuple(requests)


@cache
def fitted() -> Sequence[Request]:
    """Requests to fit to; no text of theirs is measured."""
    return tuple(Request(topic["query"], tuple(topic["documents"])) for topic in _topics("fitted"))


def _topics(name: str) -> list[_Topic]:
    text = (resources.files("rerankd.convert") / "trial.json").read_text("utf-8")
    return cast("dict[str, list[_Topic]]", json.loads(text))[name]
