"""Words behind the `?` of a request: those that the operation does not know are refused.

A misspelt word that is ignored asks for more than was meant: every volume in place of one pool's.
"""

from __future__ import annotations

from collections import Counter

from fastapi import Request

from scsi_snap.errors import InvalidArgument


async def refuse_unknown_query(request: Request) -> None:
    """Raises `InvalidArgument` for a word that is not known, that says nothing, or that is there
    twice and takes one value."""
    words = request.query_params.multi_items()
    given = Counter(word for word, _ in words)
    if not given:
        return
    path = request.scope["route"].path
    operation = request.app.openapi()["paths"][path][request.method.lower()]
    known = {
        one["name"]: one["schema"]
        for one in operation.get("parameters", ())
        if one["in"] == "query"
    }
    for word, count in given.items():
        if word not in known:
            there = ", ".join(known) or "nothing"
            raise InvalidArgument(f"{word!r} is not known in the query", f"it takes {there}")
        if count > 1 and not _takes_many(known[word]):
            raise InvalidArgument(f"{word!r} is in the query {count} times", "give it once")
    for word, value in words:
        if not value:
            raise InvalidArgument(
                f"{word!r} is empty in the query", "give a value, or leave it out"
            )


def _takes_many(schema: dict[str, object]) -> bool:
    kinds = schema.get("anyOf", [schema])
    assert isinstance(kinds, list), "as OpenAPI has it"
    return any(kind.get("type") == "array" for kind in kinds)
