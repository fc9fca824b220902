"""Make a shallower encoder to start from: the base without some of its layers."""

import json
from pathlib import Path

import click
from safetensors.torch import load_file, save_file


@click.command()
@click.option("--base", type=click.Path(path_type=Path, exists=True), required=True, help="Base weights and tokenizer.")
@click.option("--drop", default="2,5,7", show_default=True, help="The layers to leave out, counted from 0.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
def main(base: Path, drop: str, out: Path) -> None:
    """Write `config.json`, `model.safetensors` (fp32) and `tokenizer.json`."""
    config = json.loads((base / "config.json").read_text("utf-8"))
    left_out = {int(one) for one in drop.split(",")}
    kept = [layer for layer in range(config["num_hidden_layers"]) if layer not in left_out]
    tensors = {}
    for name, tensor in load_file(base / "model.safetensors").items():
        head, _, rest = name.removeprefix("encoder.layer.").partition(".")
        if not name.startswith("encoder.layer."):
            tensors[name] = tensor.float()
        elif int(head) in kept:
            tensors[f"encoder.layer.{kept.index(int(head))}.{rest}"] = tensor.float()
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "model.safetensors")
    config |= {"num_hidden_layers": len(kept), "torch_dtype": "float32"}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    (out / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())


if __name__ == "__main__":
    main()
