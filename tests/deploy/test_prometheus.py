"""The alerts and the dashboard: rules that promtool accepts and tests, and no metric that does not exist."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from programs import missing_program
from rerankd.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "rerankd.json").read_text("utf-8"))


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool") or missing_program("promtool")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_the_configuration() -> None:
    assert "rules found" in promtool("check", "rules", str(RULES))
    for folder in ("prometheus", "docker"):
        assert "SUCCESS" in promtool("check", "config", "--syntax-only", str(DEPLOY / folder / "prometheus.yml"))


def test_every_alert_fires_where_it_should_and_is_silent_where_it_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(DEPLOY / "prometheus" / "alerts.test.yml"))
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))
    tested = (DEPLOY / "prometheus" / "alerts.test.yml").read_text("utf-8")
    for alert in alerts:
        assert f"alertname: {alert}}}" in tested, f"no test says where {alert} is silent"
        assert re.search(rf"alertname: {alert}\s+exp_alerts:", tested), f"no test says where {alert} fires"


def expressions(node: Any) -> Iterator[str]:
    """Find every query of the dashboard, those of its variables included."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "query"} and isinstance(value, str) and "rerankd" in value:
                yield value
            yield from expressions(value)
    if isinstance(node, list):
        for value in node:
            yield from expressions(value)


def exported() -> set[str]:
    """Name every sample that a scrape can hold."""
    names = {"up", "rerankd"}  # Prometheus's own, and the job's name
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().text().decode(), re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    alerts = RULES.read_text("utf-8")
    rules = re.findall(r"expr: \|?\s*(.*?)\n\s+(?:for|labels):", alerts, re.DOTALL)
    assert len(rules) == alerts.count("- alert:")
    for expression in (*expressions(DASHBOARD), *rules):
        found = set(re.findall(r"\b((?:rerankd|process)(?:_\w+)?|up)\b", expression))
        assert found - {"rerankd"}, expression
        assert found <= exported(), expression


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = [query for query in expressions(DASHBOARD) if not query.startswith("label_values")]
    names = {"$__rate_interval": "5m", "$instance": "a", "$model": "m"}
    filled = [re.sub(r"\$\w+", lambda name: names[name[0]], query) for query in queries]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_a_panel_has_a_place_of_its_own() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
