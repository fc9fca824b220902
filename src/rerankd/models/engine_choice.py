"""Which engine runs a model, and whether from a graph or straight from its weights."""

from collections.abc import Mapping
from typing import cast

from rerankd import plugins
from rerankd.engines.base import EngineFactory, Plan
from rerankd.errors import ConfigError, UnsupportedModel
from rerankd.types import JsonValue

_GRAPHS = "onnx"
_WEIGHTS = "torch"


def choose_engine(
    wanted: str, config: Mapping[str, JsonValue], *, causal: bool
) -> tuple[str, EngineFactory, Plan | None]:
    """Return an engine, and its plan where it takes the weights as they lie; without a plan it needs a graph.

    "auto": torch for language models (`causal`), and for others where it would run them on an accelerator; ONNX
    Runtime in all other cases.

    Raises:
        ConfigError: the engine asked for is unknown, or what it needs is not installed.
        UnsupportedModel: it does not run this model.
    """
    name = wanted
    if wanted == "auto":
        name = _WEIGHTS if causal or _is_faster(config) else _GRAPHS
    try:
        factory = cast("EngineFactory", plugins.load("engines", name))
    except LookupError as error:
        raise ConfigError(str(error)) from error
    if missing := factory.missing():
        raise ConfigError(f"engine {name!r} cannot run: {missing}")
    plan = factory.plan(config)
    if plan is None and (causal or name == _WEIGHTS):
        remedy = "set models.engine to torch" if name != _WEIGHTS else "set models.engine to onnx"
        raise UnsupportedModel(
            f"engine {name!r} does not run models of type {config.get('model_type')!r}: {remedy} or auto"
        )
    return name, factory, plan


def _is_faster(config: Mapping[str, JsonValue]) -> bool:
    factory = cast("EngineFactory", plugins.load("engines", _WEIGHTS))
    plan = None if factory.missing() else factory.plan(config)
    return plan is not None and plan.accelerated
