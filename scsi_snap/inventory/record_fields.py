"""The fields of one JSON object of the catalog, each taken with its type."""

from __future__ import annotations

from typing import cast

Json = dict[str, object]


class Fields:
    """`where` names the object in messages. Every method raises `ValueError`."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is not an object")
        self._value = cast("Json", value)
        self._where = where

    def value(self, key: str) -> object:
        if key not in self._value:
            raise ValueError(f"{self._where}.{key} is missing")
        return self._value[key]

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            raise ValueError(f"{self._where}.{key} is not a string")
        return value

    def number(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{self._where}.{key} is not a count")
        return value

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            raise ValueError(f"{self._where}.{key} is neither true nor false")
        return value

    def items(self, key: str) -> list[object]:
        value = self.value(key)
        if not isinstance(value, list):
            raise ValueError(f"{self._where}.{key} is not a list")
        return value

    def texts(self, key: str) -> list[str]:
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"{self._where}.{key} is not a list of strings")
        return cast("list[str]", values)
