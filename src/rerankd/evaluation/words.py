"""The words of a text, for BM25: pairs of neighbouring characters in Chinese, lower-cased words elsewhere."""

import re
import unicodedata
from collections.abc import Iterator

# Han with its extensions, kana and Hangul: scripts whose words no space parts. As Lucene's CJKAnalyzer does.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_RUNS = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W{_CJK}]+")


def words(text: str) -> Iterator[str]:
    """Cut a text, after NFKC and lower-casing; a lone character of Chinese is a word, a run of n gives n - 1 pairs."""
    for match in _RUNS.finditer(unicodedata.normalize("NFKC", text).lower()):
        run = match[0]
        if match["cjk"] and len(run) > 1:
            yield from (run[i : i + 2] for i in range(len(run) - 1))
        else:
            yield run
