"""ONNX files for the rivals that need one: exported by optimum from the same weights, once."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import click

from comparison import environments, places, shapes

_TIMEOUT_S = 900
FLASHRANK_NAME = "ms-marco-TinyBERT-L-2-v2"
"""FlashRank takes a fixed list of names, and no other model than in a folder of such a name."""
_FLASHRANK_FILE = "flashrank-TinyBERT-L-2-v2.onnx"


def onnx_folder(model: str) -> Path:
    """Return a folder with the model's files and `model.onnx` beside them, made now if it is not there.

    Raises:
        subprocess.CalledProcessError: the export failed.
    """
    source = shapes.prepare(model)
    folder = places.CACHE / "onnx" / model
    if (folder / "model.onnx").is_file():
        return folder
    click.echo(f"exporting {model} with optimum (once)", err=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f"{model}.", dir=folder.parent))
    try:
        script = str(places.SUBJECTS / "export_onnx.py")
        words = [environments.python("infinity"), script, str(source), str(half)]
        subprocess.run(words, check=True, timeout=_TIMEOUT_S, stdout=subprocess.DEVNULL)
        half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return folder


def flashrank_folder(model: str) -> Path:
    """Return a cache folder in which FlashRank finds the model under the name it knows."""
    source = onnx_folder(model)
    cache = places.CACHE / "flashrank" / model
    folder = cache / FLASHRANK_NAME
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        place = folder / (_FLASHRANK_FILE if file.name == "model.onnx" else file.name)
        if not place.exists():
            place.symlink_to(file)
    return cache
