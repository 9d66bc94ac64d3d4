"""Immutable records: a frozen dataclass without its import.

`import dataclasses` pulls in inspect, re and enum, which costs more than twice a bare interpreter start, and
every `runjail state` would pay it. This base class keeps what we use of it: typed fields with defaults,
positional or keyword construction, equality, hashing, a readable repr, and no assignment afterwards.

Type checkers see ordinary frozen dataclasses through `dataclass_transform` (PEP 681).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options):  # noqa: D103 - stands in for typing's
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Record:
    """Base of all records. Fields are the annotated names of the class and its bases, in that order.

    A field whose class attribute exists has that value as its default; defaults must be immutable.
    """

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        own = [name for name in cls.__annotations__ if not name.startswith("_")]  # of this class alone, since 3.10
        cls._fields = cls._fields + tuple(name for name in own if name not in cls._fields)

    if not TYPE_CHECKING:

        def __init__(self, *values, **named):
            fields = self._fields
            if len(values) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} values, got {len(values)}")
            given = dict(zip(fields, values, strict=False))
            for name, value in named.items():
                if name in given or name not in fields:
                    raise TypeError(f"{type(self).__name__}: unexpected or repeated field {name!r}")
                given[name] = value
            for name in fields:
                if name not in given and not hasattr(type(self), name):
                    raise TypeError(f"{type(self).__name__}: field {name!r} is missing")
            self.__dict__.update(given)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{name: getattr(self, name) for name in self._fields} | changes)


def to_data(value: object) -> object:
    """Turn records, tuples and mappings into what JSON can write; other values are returned as they are."""
    if isinstance(value, Record):
        return {name: to_data(getattr(value, name)) for name in value._fields}
    if isinstance(value, (tuple, list)):
        return [to_data(item) for item in value]
    if isinstance(value, dict):
        return {key: to_data(item) for key, item in value.items()}
    return value
