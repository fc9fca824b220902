"""onnxruntime on the CPU: one session of one thread, called by as many workers at once as there are cores.

Sequences run one by one without padding: on a CPU one thread with one sequence is already at the speed of the
hardware, so a batch gains nothing and its padding costs everything.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rerankd.engines.base import Array, Encoding, Engine, Graph, Ids, Plan
from rerankd.errors import EngineFailure, ModelLoadError, UnsupportedModel
from rerankd.types import JsonValue

_FEEDS: Mapping[str, Callable[[Encoding], Ids]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: np.ones_like(encoding.ids),
}
"""What each input a graph may have is fed; nothing is ever padded, so a mask is all ones."""

_NOTHING = Encoding(np.zeros(8, np.int64), np.zeros(8, np.int64))
"""A sequence that any network reads, for a run that is not made for its result."""
_LONG_TOKENS = 1024
"""Above this a sequence's memory is given back after its run.

Measured on 2 layers x 1024, one sequence of 8,190 tokens: RSS 212 MB before, 896 at the peak, 201 after; without giving
back it stays at the peak for ever. Shorter sequences keep theirs, since taking it anew for each costs time and, over
many lengths, memory too (see `_open_session`).
"""

_PROVIDERS = ["CPUExecutionProvider"]
_SLOWER_FUSIONS = ["SkipLayerNormFusion"]
"""Graph rewritings that cost time: the fused operator takes four times as long as the three it replaces."""

_LOG_ERRORS_ONLY = 3


class _Node(Protocol):
    name: str
    type: str


class _Session(Protocol):
    """The part of `onnxruntime.InferenceSession` used here; the package itself is untyped."""

    def run(
        self, output_names: Sequence[str], input_feed: Mapping[str, Ids], run_options: object
    ) -> Sequence[NDArray[np.generic]]: ...
    def get_inputs(self) -> Sequence[_Node]: ...
    def get_outputs(self) -> Sequence[_Node]: ...


@dataclass(slots=True)
class OnnxEngine:
    """A session, what it wants to be fed, and which output is its first; see `engines.base.Engine`."""

    session: _Session | None
    feeds: Mapping[str, Callable[[Encoding], Ids]]
    output: str
    give_back: object
    failures: tuple[type[Exception], ...]

    @property
    def max_batch_tokens(self) -> int:
        """Single sequences are fastest."""
        return 0

    def run(self, batch: Sequence[Encoding]) -> Sequence[Array]:
        """Run the sequences one after another.

        Raises:
            EngineFailure: the network did not run, or the engine is closed.
        """
        session = self.session
        if session is None:
            raise EngineFailure("the engine is closed: nothing can run on it any more")
        return [self._run_one(session, encoding) for encoding in batch]

    def rest(self) -> None:
        """Give the arena's memory back to the system: onnxruntime does so at the end of a run, so run something short.

        Measured on 12 x 768, two threads, sequences of up to 512 tokens: 68 of 68 MB.
        """
        session = self.session
        if session is not None:
            with suppress(*self.failures):
                session.run([self.output], self._feed(_NOTHING), self.give_back)

    def close(self) -> None:
        """Let the session go; its memory is freed with it."""
        self.session = None

    def _feed(self, encoding: Encoding) -> Mapping[str, Ids]:
        return {name: take(encoding)[np.newaxis, :] for name, take in self.feeds.items()}

    def _run_one(self, session: _Session, encoding: Encoding) -> Array:
        options = self.give_back if encoding.tokens > _LONG_TOKENS else None
        try:
            outputs = session.run([self.output], self._feed(encoding), options)
        except self.failures as error:
            raise EngineFailure(
                f"onnxruntime could not run a sequence of {encoding.tokens} tokens ({type(error).__name__})"
            ) from error
        return outputs[0][0].astype(np.float32)  # a copy: what onnxruntime returns keeps a part of its arena alive


@dataclass(frozen=True, slots=True)
class OnnxEngineFactory:
    """Opens graphs with onnxruntime, which is part of the base install."""

    def missing(self) -> str:
        """Nothing is."""
        return ""

    def plan(self, config: Mapping[str, JsonValue]) -> Plan | None:
        """None: a graph is needed."""
        del config
        return None

    def open(self, graph: Graph) -> Engine:
        """Load a graph.

        Raises:
            ModelLoadError: the file is missing, damaged, or no ONNX graph.
            UnsupportedModel: the graph wants inputs that are not known here.
        """
        if not graph.path.is_file():
            raise ModelLoadError(f"there is no file {graph.path.name!r} to load; fetch or convert the model again")
        failures = _failures()
        try:
            session = _open_session(graph)
        except failures as error:
            raise ModelLoadError(
                f"{graph.path.name!r} is no graph that onnxruntime can run ({type(error).__name__}); "
                "fetch or convert the model again"
            ) from error
        inputs = {node.name: node.type for node in session.get_inputs()}
        unknown = [name for name, kind in inputs.items() if name not in _FEEDS or kind != "tensor(int64)"]
        if unknown or "input_ids" not in inputs:
            found = ", ".join(f"{name}: {kind}" for name, kind in inputs.items())
            raise UnsupportedModel(
                f"{graph.path.name!r} takes the inputs {found}; "
                f"only graphs that take {', '.join(_FEEDS)} as tensor(int64) can be run"
            )
        feeds = {name: _FEEDS[name] for name in inputs}
        return OnnxEngine(session, feeds, session.get_outputs()[0].name, _give_back(), failures)


ENGINE = OnnxEngineFactory()


def _open_session(graph: Graph) -> _Session:
    # Tens of megabytes, wanted only once a graph is opened.
    ort = cast("Any", import_module("onnxruntime"))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _LOG_ERRORS_ONLY
    # A pattern is kept per input shape, and lengths differ all the time. Measured on 12 x 384 in fp32, 68 sequences of
    # 30 to 500 tokens, two threads, loaded session of 90 MB included: 121-124 MB peak and kept, against 128-135 with
    # patterns, and 145-150 peak, 112-134 kept without the arena; the same speed. Shrinking the arena after every run
    # kept more, 139; after long ones it is done (see `_LONG_TOKENS`).
    options.enable_mem_pattern = False
    session = ort.InferenceSession(str(graph.path), options, providers=_PROVIDERS, disabled_optimizers=_SLOWER_FUSIONS)
    return cast("_Session", session)


def _give_back() -> object:
    """Run options that return the arena's free memory to the system when the run ends."""
    options = cast("Any", import_module("onnxruntime")).RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _failures() -> tuple[type[Exception], ...]:
    """All that onnxruntime raises: its classes share no base below Exception."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = ("EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    names += ("NoSuchFile", "NotFound", "NotImplemented", "RuntimeException")
    found = tuple(cast("type[Exception]", getattr(state, name)) for name in names if hasattr(state, name))
    return (*found, RuntimeError, ValueError)
