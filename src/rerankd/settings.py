"""Every setting, declared once, with its default, its bounds and the sentence that documents it.

Where values come from is `config`'s.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

ADDRESS = r"^https?://[^/\s]+"
"""What an address looks like."""


def holds(annotation: object, wanted: type) -> bool:
    """Tell whether a type is `wanted`, or a union or container of it."""
    return annotation is wanted or any(holds(part, wanted) for part in get_args(annotation))


class _Section(BaseModel):
    # Values stay out of pydantic's own messages: a traceback must not show a key.
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        """Read what people write and pydantic would misread: "INFO", "" for no path, `~`, and true for a number."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise PydanticCustomError("boolean", "neither true nor false is a value of this setting")
        if isinstance(value, str):
            if not value and field.default is None:
                return None
            if get_origin(field.annotation) is Literal:
                return value.lower()
            if holds(field.annotation, Path):
                return Path(value).expanduser()
        return value


class ServerSettings(_Section):
    """Where the server listens, and what it takes from one connection."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to listen on. Beyond loopback, keys are required (see auth.keys)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8036
    """Port to listen on; 0 takes a free one."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer, each with models of its own; the threads of scheduling.workers are divided among them."""
    max_body_mb: Annotated[float, Field(gt=0, le=1024)] = 16
    """Largest request body in MiB."""
    max_connections: Annotated[int, Field(ge=1)] = 1024
    """Connections served at once; more are answered 503."""
    header_timeout_s: Annotated[float, Field(gt=0)] = 10
    """Seconds a caller may take to send a request's head; then the connection is cut."""
    body_timeout_s: Annotated[float, Field(gt=0)] = 30
    """Seconds a caller may take to send its body."""
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 0
    """Seconds after SIGTERM in which connections are still taken while /readyz already answers 503: as long as a load

    balancer needs to notice."""
    shutdown_timeout_s: Annotated[float, Field(ge=0)] = 30
    """Seconds that requests in flight are given to finish when the server stops."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies in front (127.0.0.1, 10.0.0.0/8) whose X-Forwarded-For is believed."""
    cors_origins: tuple[str, ...] = ()
    """Web pages that may call from a browser (https://app.example.org), or *. None: no page of another origin may."""


class AuthSettings(_Section):
    """Who may ask."""

    keys: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = ()
    """API keys; a caller sends one as `Authorization: Bearer KEY`, `api-key` or `x-api-key`. None: no key is needed."""
    admin_keys: tuple[Annotated[SecretStr, Field(min_length=1)], ...] = ()
    """API keys that open everything, /admin too. Without one, here or in the keys file, /admin is closed."""
    keys_file: Path | None = None
    """A file of API keys beside those: what `rerankd keys new` writes (digests), or one key a line. It is read again
    when it changes, and on SIGHUP."""
    open_metrics: bool = True
    """Answer /metrics without a key; false asks for one with the scope metrics or admin."""
    allow_open: bool = False
    """Serve beyond loopback without keys, knowingly: anybody who reaches the port can use it."""


class ModelsSettings(_Section):
    """Which models are served, and from where."""

    default: Annotated[str, Field(min_length=1)] = "rerankd-zh-en"
    """The model that answers where a request names none: a catalog name, org/name, a folder, or NAME=MODEL. FAST>LARGE
    is a cascade of two; `fast` is the bundled model."""
    served: tuple[str, ...] = ()
    """More models to load, beside the default."""
    store: Path | None = None
    """Folder for downloaded and converted models; by default the user's cache folder."""
    offline: bool = False
    """Reach out to nobody: serve what is on this machine. HF_HUB_OFFLINE=1 does the same."""
    first_hub: Literal["huggingface", "modelscope"] = "huggingface"
    """Where a model of the catalog is asked for first; the other is asked where that fails."""
    hf_endpoint: Annotated[str | None, Field(pattern=ADDRESS)] = None
    """Address of the Hugging Face hub; by default HF_ENDPOINT, else https://huggingface.co."""
    mirrors: tuple[Annotated[str, Field(pattern=ADDRESS)], ...] = ()
    """Addresses asked in turn where the hub does not deliver, such as https://hf-mirror.com."""
    hf_token: SecretStr | None = None
    """Token for private and gated repositories; by default HF_TOKEN, else the one `hf auth login` has stored."""
    mirrors_get_token: bool = False
    """Show the token to mirrors, too."""
    modelscope_endpoint: Annotated[str | None, Field(pattern=ADDRESS)] = None
    """Address of ModelScope; by default MODELSCOPE_ENDPOINT, else https://modelscope.cn."""
    modelscope_token: SecretStr | None = None
    """Token for private repositories of ModelScope; by default MODELSCOPE_API_TOKEN."""
    download_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10
    """Seconds that an address may be silent before the next is tried."""
    max_tokens: Annotated[int | None, Field(ge=16)] = None
    """Lower limit on a pair's length in tokens than the model's own."""
    engine: Annotated[str, Field(min_length=1)] = "auto"
    """What runs the networks: onnx, torch (an extra: CUDA, and language models), or auto: torch where it is needed or
    faster, onnx otherwise."""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    """auto: int8 where `rerankd convert` has found that its scores agree with those of fp32 and that it is faster, fp32
    elsewhere. fp32: the exact scores. int8: made at the first load if it is not there, whatever was measured."""
    check_golden: bool = True
    """Refuse to serve a model that does not give the known scores of its card; false serves it with a warning."""
    preload: Literal["all", "default", "none"] = "all"
    """Which models are loaded when the server starts; the others are loaded by their first request."""
    restore: bool = True
    """Load again, at the next start on the same port, what `rerankd load` has loaded and `rerankd unload` has not
    unloaded; false leaves what was written down as it is."""
    idle_unload_s: Annotated[float, Field(ge=0)] = 0
    """Seconds without a request after which a model is unloaded, until the next request; 0 keeps it."""
    memory_mb: Annotated[float, Field(ge=0)] = 0
    """Memory for the weights of all loaded models in MiB; the least recently used is unloaded first. 0: no budget."""
    pinned: tuple[str, ...] = ()
    """Models that are never unloaded."""
    options: tuple[str, ...] = ()
    """What is set for one model alone, such as `bge-reranker-v2-m3: max_tokens=1024 pinned=true`: max_tokens,
    precision (auto, fp32 or int8), activation (sigmoid or none), temperature, bias, pinned, threads (how many of the
    worker threads may run it at once), check_golden."""
    while_loading: Literal["refuse", "bundled", "given_order"] = "refuse"
    """What a request gets while its model is made ready: 503 with the time to come back, an answer of the bundled
    model, or its documents in the order given; either says so in `meta.fallback` and `x-rerankd-fallback`."""
    golden_set: Path | None = None
    """Judged queries, as for `rerankd evaluate`, that a newer revision is judged on before it replaces the old one."""
    golden_margin: Annotated[float, Field(ge=0, le=1)] = 0.01
    """How much lower nDCG@10 on models.golden_set may be with a newer revision; beyond, the old one stays."""
    keep_revisions: Annotated[int, Field(ge=0, le=100)] = 1
    """Replaced revisions of a model that stay on disk, for `rerankd rollback`."""
    document_cache_mb: Annotated[float, Field(ge=0, le=1048576)] = 64
    """Memory per late-interaction model for documents already seen, in MiB; 0 turns it off."""


class SchedulingSettings(_Section):
    """How the cores are used."""

    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads that run networks, one core each; 0 takes as many as there are cores, less scheduling.reserved_cores."""
    reserved_cores: Annotated[int, Field(ge=0, le=1024)] = 0
    """Cores left to other programs on this machine where scheduling.workers is 0; one always works."""
    queue_tokens: Annotated[int, Field(ge=1)] = 1_000_000
    """Tokens that may wait; a request that does not fit is refused with the time to come back. Requests of the
    background lane may fill half of it."""
    hang_s: Annotated[float, Field(gt=0, le=86400)] = 120
    """Seconds after which a batch is given up and its worker replaced, if it is also 20 times slower than usual."""


class LimitsSettings(_Section):
    """What one request may ask."""

    max_documents: Annotated[int, Field(ge=1)] = 1024
    """Documents in a request."""
    max_query_chars: Annotated[int, Field(ge=1)] = 32_768
    """Characters in a query."""
    max_requests: Annotated[int, Field(ge=1, le=4096)] = 1024
    """Requests in one call: the items of a batch, or the pairs of vLLM's `/score`."""
    long_documents: Literal["chunk", "truncate", "error"] = "chunk"
    """Documents that do not fit beside the query: score overlapping chunks of them, cut them off, or refuse them."""
    chunk_scores: Literal["max", "mean_top_2", "first"] = "max"
    """A long document's score: its best chunk's, the mean of its best two, or its first chunk's."""
    max_chunks_per_doc: Annotated[int, Field(ge=1, le=4096)] = 64
    """Chunks scored of one document; what is beyond counts as cut. A request can ask for fewer."""
    overlap_tokens: Annotated[int, Field(ge=0, le=4096)] = 64
    """Tokens that neighbouring chunks share."""
    deadline_s: Annotated[float, Field(gt=0)] = 300
    """Seconds after which a request is answered with an error."""
    per_key: tuple[str, ...] = ()
    """What one API key may use: 600 requests/minute, 100000 pairs/hour, 50000000 tokens/day. None: no bound. A key of

    the keys file may have limits of its own (`rerankd keys limit`)."""
    per_address: tuple[str, ...] = ()
    """The same for one IPv4 address, or IPv6 network of 64 bits, with or without a key."""
    storage: Annotated[str, Field(min_length=1)] = "memory://"
    """Where uses are counted: memory://, or redis://HOST:6379/0 for several servers together."""


class CascadeSettings(_Section):
    """A fast model before a large one: a request's `model`, or models.default, says FAST>LARGE."""

    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 5
    """Seconds for the whole answer where the request does not say how long it waits."""
    documents: Annotated[int, Field(ge=0)] = 0
    """How many of the best documents the large model scores at most; 0: as many as time allows."""


class CacheSettings(_Section):
    """Remembering scores."""

    url: Annotated[str, Field(min_length=1)] = "memory://"
    """Where scores are kept: memory://, off://, or redis://HOST:6379/0 behind this process's memory. ?timeout_ms=10 is
    how long an answer is waited for, &ttl_s=604800 how long scores are kept."""
    max_mb: Annotated[float, Field(ge=0, le=65536)] = 4
    """Memory for scores in MiB, taken at the start; 4 MiB remember 131,000 pairs. 0 remembers none."""
    warmup: Path | None = None
    """A file of frequent queries to score when the server starts, in the background: one request a line, as JSON."""


class LoggingSettings(_Section):
    """What is written to standard error. Texts are not, unless logging.sample_texts says so."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe message to write."""
    format: Literal["auto", "text", "json"] = "auto"
    """text for people, json for machines; auto is text on a terminal."""
    access: bool = True
    """One line per request."""
    sample_texts: Annotated[float, Field(ge=0, le=1)] = 0
    """Share of requests whose query and first documents are logged, shortened, with addresses, numbers and keys taken
    out; 0 logs none."""


class TracingSettings(_Section):
    """Distributed traces by OpenTelemetry; needs rerankd[otel]. Texts are never in them."""

    otlp_endpoint: Annotated[str | None, Field(pattern=ADDRESS)] = None
    """Address of an OTLP collector that takes HTTP, such as http://localhost:4318. None: nothing is traced."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1
    """Share of calls that are traced, where the caller's `traceparent` does not decide."""
    service_name: Annotated[str, Field(min_length=1)] = "rerankd"
    """What this server is called in traces."""


class CanarySettings(_Section):
    """A golden set that the server ranks on a schedule: its MRR@10 is the metric `rerankd_canary_mrr`."""

    every_s: Annotated[float, Field(ge=0, le=604800)] = 0
    """Seconds from one ranking of the golden set to the next; 0 turns it off."""
    golden_set: Path | None = None
    """Judged queries, as for `rerankd evaluate --data`; by default the sample that ships with rerankd."""
    model: str = ""
    """The model that ranks it; by default models.default."""
    min_mrr: Annotated[float, Field(ge=0, le=1)] = 0
    """Below this MRR@10 /health and /readyz answer 503; 0 leaves them alone."""


class Settings(_Section):
    """The whole tree."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    models: ModelsSettings = ModelsSettings()
    scheduling: SchedulingSettings = SchedulingSettings()
    limits: LimitsSettings = LimitsSettings()
    cascade: CascadeSettings = CascadeSettings()
    cache: CacheSettings = CacheSettings()
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings = TracingSettings()
    canary: CanarySettings = CanarySettings()
