"""A recipe filled in for one server: values, the same URL from every place, and what to beware of. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rerankd.connect.places import Place
from rerankd.connect.recipes import Filled, Recipe, Way

YOUR_KEY = "YOUR_KEY"
ANY_KEY = "none"
_HASTY_S = 10


@dataclass(frozen=True, slots=True)
class KeyState:
    """Whether the server wants a key, and the key itself where it may be shown ("" otherwise)."""

    configured: bool
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Listening:
    """How the server is set to listen. `open` says that it may serve beyond loopback without keys."""

    places: Sequence[Place]
    open: bool = False
    port: int = 8036


@dataclass(frozen=True, slots=True)
class WayAdvice:
    """One way of a client, filled in for the place where the client usually is; `urls` are what to paste elsewhere."""

    way: Way
    filled: Filled
    urls: Sequence[tuple[Place, str]]
    key_hint: str
    warnings: Sequence[str]

    def as_json(self) -> dict[str, object]:
        """Return what a program would read."""
        return {
            "choose": self.way.name,
            "values": dict(self.filled.values),
            "code": self.filled.code,
            "urls": {place.id if place.id != "network" else place.url: url for place, url in self.urls},
            "key": self.way.key,
            "key_hint": self.key_hint,
            "timeout_s": self.way.timeout_s or None,
            "notes": list(self.way.notes),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Advice:
    """All there is to say about connecting one client to one server."""

    recipe: Recipe
    model: str
    key: KeyState
    places: Sequence[Place]
    ways: Sequence[WayAdvice]
    warnings: Sequence[str]

    def as_json(self) -> dict[str, object]:
        """Return what a program would read."""
        return {
            "client": self.recipe.id,
            "title": self.recipe.title,
            "page": f"docs/how-to/{self.recipe.page}",
            "model": self.model,
            "key_configured": self.key.configured,
            "places": [
                {"from": place.id, "url": place.url, "reachable": place.reachable, "note": place.note}
                for place in self.places
            ],
            "ways": [way.as_json() for way in self.ways],
            "notes": list(self.recipe.notes),
            "warnings": list(self.warnings),
        }


def advise(recipe: Recipe, ways: Sequence[Way], listening: Listening, model: str, key: KeyState) -> Advice:
    """Fill a recipe in. `listening.places` holds at least one place, the machine itself or a given address first."""
    wanted = "container" if recipe.in_container else "here"
    likely = next((place for place in listening.places if place.id == wanted), listening.places[0])
    return Advice(
        recipe=recipe,
        model=model,
        key=key,
        places=listening.places,
        ways=[_way_advice(way, likely, listening.places, model, key) for way in ways],
        warnings=list(_warnings(recipe, likely, listening, model, key)),
    )


def _way_advice(way: Way, likely: Place, places: Sequence[Place], model: str, key: KeyState) -> WayAdvice:
    value, hint = _key(way, key)
    return WayAdvice(
        way=way,
        filled=way.filled(likely.url, model, value),
        urls=[(place, way.pasted(place.url)) for place in places],
        key_hint=hint,
        warnings=list(_way_warnings(way, key)),
    )


def _key(way: Way, key: KeyState) -> tuple[str, str]:
    """Return what stands for the key, and a sentence about it."""
    if way.key == "never":
        return "", "this client sends no key"
    if key.configured:
        hint = "" if key.shown else f"{YOUR_KEY} stands for one of the server's auth.keys (--show-key prints the first)"
        return key.shown or YOUR_KEY, hint
    if way.key == "required" or way.code:
        return ANY_KEY, "no key is set: any text will do"
    return "", "no key is set: leave the field empty"


def _way_warnings(way: Way, key: KeyState) -> Iterator[str]:
    if way.key == "never" and key.configured:
        yield (
            "it cannot send a key, and this server wants one: every request will be answered 401. Take another way, or "
            "run a server without keys that only this client can reach"
        )
    if 0 < way.timeout_s <= _HASTY_S:
        yield f"it gives up after {way.timeout_s:g} s: send it few documents, and let the server be warm"


def _warnings(recipe: Recipe, likely: Place, listening: Listening, model: str, key: KeyState) -> Iterator[str]:
    if not likely.reachable:
        yield (
            f"the server listens on this machine's loopback only, and {recipe.title} usually runs in a container, "
            "which does not reach it on Linux: start it with `rerankd serve --host 0.0.0.0` and a key "
            "(RERANKD_AUTH__KEYS=…)"
        )
    exposed = any(place.id == "network" and place.reachable for place in listening.places)
    if exposed and not key.configured and not listening.open:
        yield "rerankd refuses to listen beyond loopback without keys: set RERANKD_AUTH__KEYS"
    if listening.port == 0:
        yield "server.port is 0: rerankd takes a free port at each start and tells it in its log; give it with --url"
    if recipe.model_holds and recipe.model_holds not in model.lower():
        yield f"{recipe.title} takes a model for a reranker if its id holds {recipe.model_holds!r}: {model!r} does not"
