"""Average the weights of several snapshots of one run: flatter than each of them, and no slower to serve."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import click
from safetensors.torch import load_file, save_file


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.argument("snapshots", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(out: Path, snapshots: Sequence[Path]) -> None:
    """Write the mean of SNAPSHOTS' weights as a folder of the same kind."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = [
        {name: one.float() for name, one in load_file(folder / "model.safetensors").items()} for folder in snapshots
    ]
    mean = {name: sum(each[name] for each in tensors[1:]) + one for name, one in tensors[0].items()}
    save_file({name: (one / len(tensors)).half().contiguous() for name, one in mean.items()}, out / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(snapshots[0] / name, out / name)


if __name__ == "__main__":
    main()
