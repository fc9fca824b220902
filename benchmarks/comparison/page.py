"""Results to the page docs/benchmarks.md: every number in it comes from the file, none from a hand."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from comparison import units
from comparison.disturbance import NOTICEABLE, OTHERS
from comparison.results import Entry, Results
from comparison.running import compared

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class _Section:
    """A scenario's heading, the script that measures it, and what is measured."""

    heading: str
    script: str
    about: str


_SECTIONS: Mapping[str, _Section] = {
    "in-process": _Section(
        "In process, against libraries",
        "benchmarks/in_process.py",
        "Every library in an interpreter of its own, called with the same requests in turn. sentence-transformers "
        "predicts as its documentation shows; FlashRank is given the same network, exported to ONNX in fp32, in place "
        "of its quantised ones. Differences are of logits.",
    ),
    "peak-share": _Section(
        "Share of the matrix peak",
        "benchmarks/peak_share.py",
        "The peak is the best that this machine's cores reach together in plain fp32 matrix products, measured before "
        "and after every round. Counted are the multiplications of the full model for the tokens that there are; what "
        "is saved without changing a score shows as speed: the last layer for one token only leaves out 14 % of six "
        "layers and 7 % of twelve, so that more than 100 % is possible. The share that is promised is the median speed "
        "by the best peak of the whole run.",
    ),
    "over-http": _Section(
        "Over HTTP, against servers",
        "benchmarks/over_http.py",
        "The same requests in the same order, one server at a time while the others idle. rerankd remembers nothing "
        "here (`cache.url = off://`, `models.document_cache_mb = 0`), so that repeated rounds are computed anew. "
        "infinity's optimum engine gives BERT models no token types (`return_token_type_ids=False` in its source), "
        "which is why its scores differ there.",
    ),
    "int8": _Section(
        "int8 against fp32",
        "benchmarks/int8_gain.py",
        "Graph against graph in process, in turn. Random weights agree badly, and of such a model rerankd would leave "
        "a fifth of the layers in fp32, or all of it; with real weights every layer passed in eight bits.",
    ),
    "memory": _Section(
        "Memory",
        "benchmarks/memory.py",
        "Resident memory of a serving process: after one request, and after as many short ones as the table says.",
    ),
    "start": _Section(
        "Start and conversion",
        "benchmarks/start.py",
        "From the command to the first score over HTTP with a model that is already converted; the conversion, which "
        "comes once before the first start, in a process of its own. Files are in the system's cache.",
    ),
    "small-beside-large": _Section(
        "Small requests beside large ones",
        "benchmarks/small_beside_large.py",
        "Latency of requests of 5 documents from one client, alone and while four clients send 200 documents each, "
        "without a pause.",
    ),
    "more-clients": _Section(
        "One client and sixteen",
        "benchmarks/more_clients.py",
        "The same requests sent by one client and by sixteen.",
    ),
}
"""By scenario, in the page's order."""

_HOW = """\
## How to repeat it

```
make bench-compare                  # everything, about an hour on two cores
make bench-compare ARGS=--quick     # a look
```

`make bench-compare` runs `python benchmarks/compare.py`, which installs each rival into an environment of its own
(once, from the pinned lists in `benchmarks/environments/`), makes the models (once, 3 GB under `.cache/benchmarks`),
measures, writes `benchmarks/results/<date>-<name>.json` and this page. Each section names the script that measures it
alone; `--model`, `--rounds` and, over HTTP, `--clients` and `--rival` narrow it. `python benchmarks/report.py FILE`
writes the page from a file of results.

- Rounds are interleaved (A B C A B C …): tables give the median and, in parentheses, the least and the most of the
  rounds. A ratio is the median of the ratios within each round. Trust ratios: absolute figures move with the machine.
- The models have the published networks' sizes and random weights, drawn so that activations keep their spread: what
  is computed does not depend on the values. `bge-base` and `bge-m3` have a vocabulary of 24,000 pieces in place of
  250,002, which costs disk and no arithmetic; `bge-base-250k` has all of it, where size counts. Tokenizers are made
  from the bundled model's pieces.
- Texts are prose of common English and Chinese words, documents log-normal with a median of 150 tokens, 30 to 500.
  Tokens are those of the pairs without padding, the same for everyone.
- A figure measured in a short run (`--quick`) is marked. A round during which other programs used more
  than a quarter of a core is measured again, up to three times, and does not count if they still did; "disturbed" marks
  figures of which every round was.
"""


def write(results: Results) -> str:
    """Return the page, Markdown."""
    return "\n".join([*_head(results), *_goals(results.entries), *_sections(results.entries), _HOW, *_rivals(results)])


def _head(results: Results) -> Iterator[str]:
    machine = results.machine
    memory = machine["memory_bytes"]
    size = f", {memory / _GIB:.0f} GiB" if memory else ""
    file = f"{results.date}-{results.name}.json"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield "# Benchmarks\n"
    yield "<!-- generated by benchmarks/report.py from a file of benchmarks/results -->\n"
    yield (
        f"Measured {results.date} on {machine['cores']} cores of {machine['cpu']} ({', '.join(machine['isa'])}){size}, "
        f"{machine['system']}, Python {machine['python']}, {versions}. "
        f"All samples: [{file}](../benchmarks/results/{file}).\n"
    )


def _goals(entries: Sequence[Entry]) -> Iterator[str]:
    yield "## What was promised, and what was measured\n"
    rows: list[tuple[str, ...]] = []
    for entry in _ordered(entries):
        for goal in entry.goals:
            wanted = f"{'at least' if goal.sense == '>=' else 'at most'} {goal.limit:g}"
            rows.append((goal.what, wanted, f"{goal.measured:.4g}", "yes" if goal.met else "**no**", _mark(entry)))
    yield from _table(("", "promised", "measured", "kept", ""), rows)


def _sections(entries: Sequence[Entry]) -> Iterator[str]:
    for scenario, section in _SECTIONS.items():
        found = [entry for entry in _ordered(entries) if entry.scenario == scenario]
        if found:
            yield f"## {section.heading}\n\n{section.about} `python {section.script}`\n"
            yield from _samples(found)
            yield from _figures(found)
    measured = {entry.scenario for entry in entries}
    missing = [section.script for scenario, section in _SECTIONS.items() if scenario not in measured]
    if missing:
        yield f"Not measured in this file: {', '.join(f'`{script}`' for script in missing)}.\n"


def _samples(entries: Sequence[Entry]) -> Iterator[str]:
    names = list(dict.fromkeys(unit for entry in entries for by_unit in entry.samples.values() for unit in by_unit))
    names = [name for name in names if name != OTHERS]
    if not names:
        return
    compares = any(units.UNITS[unit].ratios for unit in names) and any(len(entry.samples) > 1 for entry in entries)
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        first = next(iter(entry.samples), "")
        for subject in entry.samples:
            told = [units.told(unit, entry.spread(subject, unit)) for unit in names]
            ratio = (compared(entry, first, subject) or "1",) if compares else ()
            rows.append((entry.model, entry.case, subject, *told, *ratio, _mark(entry)))
    titles = [units.UNITS[unit].title for unit in names]
    yield from _table(("model", "load", "", *titles, *(("the first is faster by",) if compares else ()), ""), rows)


def _figures(entries: Sequence[Entry]) -> Iterator[str]:
    rows = [
        (entry.model, what, _number(value), _mark(entry)) for entry in entries for what, value in entry.figures.items()
    ]
    if rows:
        yield from _table(("model", "", "", ""), rows)
    notes = [f"- {entry.model}: {note}" for entry in entries for note in entry.notes]
    if notes:
        yield "\n".join(notes) + "\n"


def _rivals(results: Results) -> Iterator[str]:
    yield "## Versions of the rivals\n"
    rows = [
        (name, ", ".join(f"{package} {version}" for package, version in pins.items()))
        for name, pins in results.rivals.items()
    ]
    yield from _table(("environment", "versions"), rows)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; columns in which nothing stands are left out."""
    listed = list(rows)
    used = [place for place, title in enumerate(titles) if title or any(row[place] for row in listed)]
    lines = [
        [titles[place] for place in used],
        ["---"] * len(used),
        *([row[place] for place in used] for row in listed),
    ]
    yield "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _ordered(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The page's order of scenarios; within one, numbers in names by their size."""
    order = list(_SECTIONS)
    return sorted(entries, key=lambda entry: (order.index(entry.scenario), _natural(f"{entry.model} {entry.case}")))


def _natural(text: str) -> list[tuple[int, str]]:
    """A key by which "4 clients" comes before "16 clients"."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _mark(entry: Entry) -> str:
    marks = ["quick"] if entry.quick else []
    marks += [f"disturbed: {entry.disturbed:.1f} cores"] if entry.disturbed > NOTICEABLE else []
    return ", ".join(marks)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
