"""Over HTTP: rerankd against the server that tutorials teach and infinity, 20 documents a request.

The same requests go to everyone in the same order; servers run side by side, and all but the one asked are idle.
A rival may take half a minute for one request: --rival, --clients and --model take one cell at a time.

    python benchmarks/over_http.py --model minilm-l6 --clients 4
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from comparison import http_rounds, shapes, work
from comparison.results import Entry, Goal
from comparison.running import Options, failing_clearly, interleave, largest_difference, record, scenario_options
from comparison.servers import INFINITY_TORCH, RERANKD, RIVALS, TUTORIAL, Running, serving

NAME = "over-http"
CLIENTS = (1, 4, 16)
DOCUMENTS = 20
GOALS = {TUTORIAL: 3.0, INFINITY_TORCH: 2.5}
_REQUESTS = {"minilm-l6": {1: 3, 4: 8, 16: 16}, "bge-base": {1: 1, 4: 4, 16: 16}, shapes.BUNDLED: {1: 6, 4: 12, 16: 16}}


def run(options: Options, clients: Sequence[int] = CLIENTS, rivals: Sequence[str] = tuple(RIVALS)) -> None:
    """Measure every chosen model at every number of clients."""
    for model in options.chosen(*_REQUESTS):
        names = [RERANKD, *(RIVALS[rival] for rival in rivals if model != shapes.BUNDLED)]
        with serving(names, model) as servers:
            warm = work.make(model, documents=4, count=1, first=1000)
            for server in servers:
                http_rounds.measure(server, warm, 1)
            for number in clients:
                record(options, _measure(model, servers, number, options))


def _measure(model: str, servers: Sequence[Running], clients: int, options: Options) -> Entry:
    count = max(clients, 1) if options.quick else _REQUESTS[model].get(clients, clients)
    load = work.make(model, documents=DOCUMENTS, count=count)
    scores: dict[str, Sequence[Sequence[float]]] = {}

    def measure(server: Running, _number: int) -> dict[str, float]:
        measured = http_rounds.measure(server, load, clients)
        scores[server.name] = measured.scores
        return dict(measured.figures)

    samples = interleave(servers, measure, rounds=options.repeats(3), called=lambda server: server.name)
    entry = Entry(NAME, model, _case(clients, [server.name for server in servers]), samples)
    figures = {
        f"largest difference of scores, rerankd and {name}": largest_difference(scores[RERANKD], found)
        for name, found in scores.items()
        if name != RERANKD and RERANKD in scores
    }
    found = [(rival, entry.ratio(RERANKD, rival, "tokens_per_s"), limit) for rival, limit in GOALS.items()]
    goals = [
        Goal(f"{model}, {entry.case}: tokens/s by those of the {rival}", ">=", limit, ratio.median)
        for rival, ratio, limit in found
        if ratio
    ]
    return replace(entry, figures=figures, goals=goals)


def _case(clients: int, servers: Sequence[str]) -> str:
    """Name the load; where not everybody takes part, the rivals too, so that another rival's figures stay."""
    rivals = [name for name in servers if name != RERANKD]
    against = f", against {', '.join(rivals)}" if rivals and set(rivals) != set(RIVALS.values()) else ""
    return f"{DOCUMENTS} documents, {clients} client{'s' if clients > 1 else ''}{against}"


@click.command()
@scenario_options
@click.option("--clients", multiple=True, type=int, default=CLIENTS, show_default=True, help="Clients at once.")
@click.option("--rival", "rivals", multiple=True, type=click.Choice(list(RIVALS)), default=list(RIVALS),
              show_default=True, help="Servers to compare with.")  # fmt: skip
def main(clients: tuple[int, ...], rivals: tuple[str, ...], **options: Any) -> None:
    """Compare servers over HTTP, same requests, interleaved; print and write the figures."""
    with failing_clearly():
        run(Options(**options), clients, rivals)


if __name__ == "__main__":
    main()
