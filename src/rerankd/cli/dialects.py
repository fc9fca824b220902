"""`rerankd dialects`: which path and which key of a body lead to which API."""

import click

from rerankd.cli.options import debug_option, json_option
from rerankd.cli.output import Column, print_json, print_rows


@click.command()
@json_option
@debug_option
def dialects(as_json: bool) -> None:
    """Print which path and which key lead to which dialect: the first rule that holds decides.

    Every path below also exists with the dialect's name in front: there, nothing is detected.
    """
    from rerankd.dialects.detect import load_all

    directory = load_all()
    rules = [{"when": condition, "dialect": name} for condition, name in directory.rules()]
    paths = {
        name: [path for route in dialect.routes for path in (route.path, *route.aliases)]
        for name, dialect in directory.dialects.items()
    }
    if as_json:
        print_json({"rules": rules, "paths": paths})
        return
    print_rows((Column("when"), Column("dialect")), [(rule["when"], rule["dialect"]) for rule in rules])
    click.echo()
    rows = [(name, f"/{name}", ", ".join(served)) for name, served in paths.items()]
    print_rows((Column("dialect"), Column("prefix"), Column("paths")), rows)
