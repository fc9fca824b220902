"""Names to implementations, for every folder of alternatives and for third-party packages.

A folder of alternatives (`dialects engines families cache sources`) holds one module per alternative; each exports one
object under the constant named here. A third-party package adds one with an entry point in the group
`rerankd.<folder>`. No list is kept anywhere: adding a file is enough.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules

CONSTANTS = {
    "dialects": "DIALECT",
    "engines": "ENGINE",
    "families": "FAMILY",
    "cache": "CACHE",
    "sources": "SOURCE",
}
_NOT_ALTERNATIVES = {
    "dialects": frozenset({"base", "detect", "reading", "errors"}),
    "sources": frozenset({"base", "layout", "selection", "snapshots", "transfer", "trying"}),
}


@cache
def names(kind: str) -> tuple[str, ...]:
    """Name every alternative of a kind, ours and third parties', sorted."""
    package = import_module(f"rerankd.{kind}")
    skipped = _NOT_ALTERNATIVES.get(kind, frozenset()) | {"base"}
    ours = {m.name for m in iter_modules(package.__path__) if m.name not in skipped and not m.name.startswith("_")}
    return tuple(sorted(ours | set(_third_party(kind))))


@cache
def load(kind: str, name: str) -> object:
    """Import one alternative.

    Raises:
        LookupError: there is none of that name; the message lists those that exist.
    """
    if name not in names(kind):
        raise LookupError(f"no {kind} named {name!r} (there are: {', '.join(names(kind))})")
    third_party = _third_party(kind)
    if name in third_party:
        return third_party[name].load()
    return getattr(import_module(f"rerankd.{kind}.{name}"), CONSTANTS[kind])


@cache
def _third_party(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"rerankd.{kind}")}
