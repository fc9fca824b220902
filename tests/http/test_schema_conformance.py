# pyright: reportUntypedFunctionDecorator=false, reportMissingTypeArgument=false, reportArgumentType=false
# schemathesis types its own doors loosely.
"""The OpenAPI document is a promise: schemathesis invents requests from it and holds every answer to it."""

import warnings

import pytest
from hypothesis import HealthCheck, Phase, settings

from fake_service import FakeService
from rerankd.http.app import create_app
from rerankd.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of its own dependencies, at import
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)

schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(FakeService(), Settings()))


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # those of the tool are not ours to answer for
@schema.parametrize()
@settings(
    max_examples=20, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_every_answer_keeps_the_documents_promise(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=CHECKS)
