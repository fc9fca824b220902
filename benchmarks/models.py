"""Make the models that the comparisons use: published shapes, random weights.

python benchmarks/models.py              all of them (about 3 GB)
python benchmarks/models.py minilm-l6    one
"""

import click

from comparison import shapes


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(shapes.SHAPES)))
def main(names: tuple[str, ...]) -> None:
    """Make the models NAMES (default: all) in the cache folder of the benchmarks, where they are not there yet."""
    for name in names or shapes.SHAPES:
        folder = shapes.prepare(name)
        click.echo(f"{name:14} {shapes.weight_bytes(name) / 1e6:8,.0f} MB  {folder}")


if __name__ == "__main__":
    main()
