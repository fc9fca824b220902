"""Write the rerankers that training starts from, as folders that `rerankd evaluate` judges: e5 by cosine, e5 by MaxSim.

Both are the base encoder in fp32, untrained. "e5-cosine" is the bi-encoder as published: the cosine of mean-pooled
states. "e5-late" is the late interaction of the pilot: 1.4 MaxSim + 0.6 cosine. Their scores are not calibrated.
"""

import json
import shutil
from pathlib import Path

import click
from scoring import snapshot

from rerankd.convert.convert import write_encoder

HERE = Path(__file__).parent
MIXES = {
    "e5-cosine": {"scale": 1.0, "cosine": 1.0, "maxsim": 0.0, "bias": 0.0},
    "e5-late": {"scale": 20.0, "cosine": 0.6, "maxsim": 1.4, "bias": -1.75},
}


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Base weights and tokenizer.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the two folders are written.")
def main(base: Path, out: Path) -> None:
    """Write the folders `e5-cosine` and `e5-late`."""
    for name, mix in MIXES.items():
        folder = out / name
        folder.mkdir(parents=True)
        write_encoder(snapshot(base), folder)
        shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
        config = json.loads((HERE / "config.json").read_text("utf-8"))
        config["graph"]["precision"] = "fp32"
        config["late_interaction"] |= {"mix": mix, "calibration": {"slope": 1.0, "bias": 0.0}}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
