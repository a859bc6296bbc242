"""What is wrong with a request that does not fit its schema, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scsi_snap.errors import InvalidArgument

_HINT = "/openapi.json describes what is expected"
_SAYS = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "int_type": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "string_type": "is not a text",
    "string_unicode": "is not UTF-8",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "list_type": "is not a list",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "dict_type": "is not an object",
    "greater_than_equal": "is below {ge}",
    "less_than_equal": "is above {le}",
    "literal_error": "is none of {expected}",
}


def in_words(found: Mapping[str, Any]) -> InvalidArgument:
    """`found`: one of pydantic's errors, by its type, its place and the bounds of what it broke."""
    if found["type"] == "json_invalid":
        return InvalidArgument("the body is not JSON", _HINT)
    says = _SAYS.get(found["type"])
    if says is None:
        message = found["msg"]
        text = f"is wrong: {message[:1].lower()}{message[1:]}"
    else:
        text = says.format_map(found.get("ctx", {}))
    return InvalidArgument(f"{_place(found['loc'])} {text}", _HINT)


def _place(loc: Sequence[str | int]) -> str:
    """`('body', 'members', 0, 'path')` as `path of item 1 of members`."""
    place = ""
    for part in loc[1:]:
        name = f"item {part + 1}" if isinstance(part, int) else part
        place = f"{name} of {place}" if place else name
    return place or "the body"
