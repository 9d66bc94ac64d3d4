"""`import os` without collections.abc: of the 25 classes of that, os takes one, for os.environ.

Making all takes 0.05 to 0.07 starts of a bare interpreter in each verb, up to a third of what `state` takes above the
floor (docs/performance.md). Files of bytecode have this module before all others (.ci/merge.py); where they are not
used, os is imported as ever. collections.abc is as ever for whoever imports it later, as the first does who changes
os.environ as a mapping; its classes do not know os.environ before that.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView
    from typing import Any


class Mapping:
    """What os.environ inherits from MutableMapping: what reads it. What else there is, MutableMapping itself does.

    In a container nothing can be imported any more, and hooks are started there with our environment.
    """

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> str: ...
        def __iter__(self) -> Iterator[str]: ...

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        try:
            return self[name]
        except KeyError:
            return default

    def keys(self) -> KeysView[str]:
        """As of a dict, but that of now."""
        return dict.fromkeys(self).keys()

    def items(self) -> ItemsView[str, str]:
        """As of a dict, but those of now."""
        return {name: self[name] for name in self}.items()

    def values(self) -> ValuesView[str]:
        """As of a dict, but those of now."""
        return dict(self.items()).values()

    def __eq__(self, other: object) -> bool:
        equal: bool = _real(self).__eq__(self, other)
        return equal

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        found = getattr(_real(self), name)
        return found.__get__(self) if callable(found) else found


def _real(mapping: Mapping) -> Any:
    """Return the real class, which from now on knows a mapping as one of its own."""
    from _collections_abc import MutableMapping

    MutableMapping.register(type(mapping))
    return MutableMapping


def _check_methods(kind: type, *methods: str) -> Any:
    """Say whether a class has methods, for os.PathLike."""
    from _collections_abc import _check_methods as check  # type: ignore[attr-defined]

    return check(kind, *methods)


def _import() -> None:
    """Import os with this module's names in the place of collections.abc."""
    module: Any = type(sys)("_collections_abc")
    module.MutableMapping, module.Mapping, module._check_methods = Mapping, (dict, Mapping), _check_methods
    sys.modules[module.__name__] = module
    try:
        import os  # noqa: F401
    except ImportError:  # this Python's takes something else: who imports it gets it as ever
        sys.modules.pop("os", None)
    finally:
        del sys.modules[module.__name__]


if not {"os", "_collections_abc"} & set(sys.modules):
    _import()
