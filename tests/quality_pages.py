"""The tables of docs/explanation/quality.md, from the JSON that `rerankd evaluate` printed: nothing copied by hand."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs" / "explanation"
PAGE = FOLDER / "quality.md"
DATA = FOLDER / "quality.json"
_PART = re.compile(r"(<!-- generated: begin -->\n).*?(<!-- generated: end -->)", re.DOTALL)


def filled() -> str:
    """The page with its generated part written anew."""
    tables = written(json.loads(DATA.read_text("utf-8")))
    return _PART.sub(lambda part: part[1] + tables + part[2], PAGE.read_text("utf-8"))


def written(found: Mapping[str, Any]) -> str:
    """One table of standings and one of differences, over all groups."""
    measures = found["rules"]["measures"]
    first = measures[0]
    lines = [f"| set | system | {first} (95 % interval) | " + " | ".join(measures[1:]) + " | ECE |"]
    lines.append("|---" * (len(measures) + 3) + "|")
    for group in found["groups"]:
        for system in group["systems"]:
            means = [system["measures"][name] for name in measures]
            error = f"{system['calibration']['error']:.3f}" if system["calibration"] else "-"
            interval = f"{means[0]['mean']:.3f} ({means[0]['low']:.3f} to {means[0]['high']:.3f})"
            others = " | ".join(f"{each['mean']:.3f}" for each in means[1:])
            lines.append(
                f"| {group['name']} ({group['queries']}) | {system['name']} | {interval} | {others} | {error} |"
            )
    lines += ["", f"| set | difference | {first} (95 % interval) | p (Holm) | won / drawn / lost |", "|---" * 5 + "|"]
    for group in found["groups"]:
        for duel in group["comparisons"]:
            each = duel["measures"][first]
            star = " *" if each["significant"] else ""
            lines.append(
                f"| {group['name']} | {duel['first']} − {duel['second']} | {each['mean']:+.3f}{star} "
                f"({each['low']:+.3f} to {each['high']:+.3f}) | {each['p_holm']:.4f} | "
                f"{each['wins']} / {each['draws']} / {each['losses']} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(filled(), "utf-8")
