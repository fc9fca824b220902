"""Golden cases: what each client sends, and the exact answer, byte for byte but for id and time.

A case is a file `<dialect>/<name>.json`: the clients it stands for, path, request, status and answer. After a wanted
change run `GOLDEN=write pytest tests/wire` and read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from fake_service import FakeService
from http_app import opened
from rerankd import plugins

CASES = sorted(Path(__file__).parent.glob("*/*.json"))
WRITE = os.environ.get("GOLDEN") == "write"


def _steady(body: Any) -> Any:
    if isinstance(body, dict):
        fixed = {"id": "rerank-0", "created": 0}
        return {key: fixed.get(key, value) for key, value in body.items()}
    return body


async def _ask(path: str, body: object) -> tuple[int, Any]:
    async with opened(FakeService()) as http:
        response = await http.post(path, json=body)
        return response.status_code, _steady(response.json())


@pytest.mark.parametrize("file", CASES, ids=[f"{case.parent.name}/{case.stem}" for case in CASES])
def test_a_client_gets_exactly_this_answer(file: Path) -> None:
    case = json.loads(file.read_text("utf-8"))
    status, answer = anyio.run(_ask, case["path"], case["request"])
    if WRITE:
        case |= {"status": status, "answer": answer}
        file.write_text(json.dumps(case, ensure_ascii=False, indent=1) + "\n", "utf-8")
    assert status == case["status"]
    # As text: the order of keys, and 1.0 rather than 1, are part of the contract.
    assert json.dumps(answer, ensure_ascii=False) == json.dumps(case["answer"], ensure_ascii=False)


def test_there_are_golden_cases_for_every_dialect() -> None:
    assert {case.parent.name for case in CASES} >= set(plugins.names("dialects"))
