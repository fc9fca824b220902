"""Throughput with 16 clients against that with one, on the same server and requests.

python benchmarks/more_clients.py
"""

from dataclasses import replace

from comparison import http_rounds, shapes, work
from comparison.results import Entry, Goal
from comparison.running import Options, command, interleave, record
from comparison.servers import RERANKD, serving

NAME = "more-clients"
GOAL = 1.0
_REQUESTS = {"minilm-l6": 16, "bge-base": 16, shapes.BUNDLED: 32}
_DOCUMENTS = {"minilm-l6": 20, "bge-base": 5, shapes.BUNDLED: 20}
_MANY, _ONE = 16, 1


def run(options: Options) -> None:
    """Measure every chosen model."""
    for model in options.chosen(*_REQUESTS):
        record(options, _measure(model, options))


def _measure(model: str, options: Options) -> Entry:
    load = work.make(model, documents=_DOCUMENTS[model], count=_REQUESTS[model])
    with serving([RERANKD], model) as (server,):
        http_rounds.measure(server, work.make(model, documents=4, count=1, first=1000), 1)

        def measure(clients: int, _number: int) -> dict[str, float]:
            return dict(http_rounds.measure(server, load, clients).figures)

        samples = interleave([_MANY, _ONE], measure, rounds=options.repeats(4), called=_title)
    entry = Entry(NAME, model, f"{_REQUESTS[model]} requests of {_DOCUMENTS[model]} documents", samples)
    ratio = entry.ratio(_title(_MANY), _title(_ONE), "tokens_per_s")
    goals = [Goal(f"{model}: tokens/s with 16 clients by 1", ">=", GOAL, ratio.median)] if ratio else []
    return replace(entry, goals=goals)


def _title(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


main = command(run, "Print the throughput with 16 clients and with one, and write it to the results.")

if __name__ == "__main__":
    main()
