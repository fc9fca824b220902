"""Parity certificates in the store: one file per fingerprint, so that a changed file, precision or engine has none.

A certificate is written by `rerankd verify` and read at every load. It never lies in a model's own folder.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import cast

from rerankd.errors import ModelLoadError
from rerankd.types import Verified

_FOLDER = "verified"
_LIBRARIES: Mapping[str, str] = {"onnx": "onnxruntime", "torch": "torch"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was compared with what, and how far apart they were.

    `hashes` name weights, tokenizer, configuration and template (the token ids that the fixed pairs became), `versions`
    the libraries on both sides. `max_abs_diff` is between scores after activation; `tolerance` what was allowed.
    """

    model: str
    fingerprint: str
    family: str
    engine: str
    precision: str
    score_type: str
    reference: str
    pairs: int
    max_abs_diff: float
    tolerance: float
    hashes: Mapping[str, str]
    versions: Mapping[str, str]
    created: str


def write(root: Path, certificate: Certificate) -> Path:
    """Sign a certificate with the digest of its content, and put it into the store at `root`, whole or not at all.

    Raises:
        ModelLoadError: the store cannot be written.
    """
    content = asdict(certificate)
    text = json.dumps({**content, "sha256": _digest(content)}, ensure_ascii=False, indent=2)
    target = _file(root, certificate.fingerprint)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
        Path(temporary).replace(target)
    except OSError as error:
        raise ModelLoadError(
            f"the certificate cannot be written ({error.strerror}): set models.store to a writable folder"
        ) from error
    return target


def find(root: Path, fingerprint: str, engine: str) -> Verified | None:
    """Read what a fingerprint's certificate says; None where there is none, where it was changed by hand, or where it

    was signed for another version of the engine's library.
    """
    try:
        content = cast("dict[str, object]", json.loads(_file(root, fingerprint).read_text("utf-8")))
        signature = content.pop("sha256")
        versions = cast("Mapping[str, str]", content["versions"])
        current = signature == _digest(content) and content["fingerprint"] == fingerprint
        if not current or versions.get(engine) != engine_version(engine):
            return None
        return Verified(
            max_abs_diff=float(cast("float", content["max_abs_diff"])),
            reference=str(content["reference"]),
            precision=str(content["precision"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a certificate that cannot be read certifies nothing


def engine_version(engine: str) -> str:
    """The version of the library that an engine runs on; "" for one that is not known here."""
    try:
        return metadata.version(_LIBRARIES[engine])
    except (KeyError, metadata.PackageNotFoundError):
        return ""


def _file(root: Path, fingerprint: str) -> Path:
    return root / _FOLDER / f"{fingerprint}.json"


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
