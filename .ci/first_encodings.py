"""`encodings` with UTF-8 alone; the real package comes in its place when anybody asks for more.

Each start of Python loads that package, a table of 300 aliases and utf_8 to have one codec, and reads two directories
for them. With this module it takes 0.46 of 4.5 ms less (150 starts in turns), and each verb 0.06 to 0.1 starts less
(docs/performance.md). quick_home.py puts it where the interpreter of our start scripts looks first, with FACTS: what
this Python has without us, which is set right at once, so that nothing else is different.
"""

import codecs
import sys
from _codecs import utf_8_decode, utf_8_encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FACTS: "dict[str, Any]" = {}

__path__ = [f"{FACTS['sys']['_stdlib_dir']}/encodings"]
__package__ = "encodings"
__spec__.submodule_search_locations = __path__  # or what the real package imports of itself is not found

sys.path[:] = FACTS["path"]
for _name, _value in FACTS["sys"].items():
    setattr(sys, _name, _value)


def _decode(text: bytes, errors: str = "strict") -> tuple[str, int]:
    return utf_8_decode(text, errors, True)


class _Encoder(codecs.IncrementalEncoder):
    def encode(self, text: str, final: bool = False) -> bytes:
        return utf_8_encode(text, self.errors)[0]


class _Decoder(codecs.BufferedIncrementalDecoder):
    _buffer_decode = staticmethod(utf_8_decode)  # type: ignore[assignment]


class _Writer(codecs.StreamWriter):
    encode = utf_8_encode  # type: ignore[assignment]


class _Reader(codecs.StreamReader):
    decode = utf_8_decode  # type: ignore[assignment]


_UTF_8 = codecs.CodecInfo(
    name="utf-8",
    encode=utf_8_encode,
    decode=_decode,  # type: ignore[arg-type]
    streamreader=_Reader,
    streamwriter=_Writer,
    incrementalencoder=_Encoder,
    incrementaldecoder=_Decoder,
)


def _search(name: str) -> "codecs.CodecInfo | None":
    """Return a codec by its name in small letters, None where there is none: codecs.register()."""
    if name in ("utf-8", "utf_8", "utf8"):
        return _UTF_8
    if "search_function" not in globals():
        _become()
    found: codecs.CodecInfo | None = globals()["search_function"](name)
    return found


def _become() -> None:
    """Be the real package from now on: its code is executed in our place."""
    from _frozen_importlib_external import SourceFileLoader

    globals().pop("__getattr__", None)  # or what the package imports of itself would be asked of us
    code: Any = SourceFileLoader(__name__, f"{__path__[0]}/__init__.py").get_code(__name__)
    exec(code, globals())


def __getattr__(name: str) -> "Any":
    """Return what the real package has."""
    if not name.startswith("__"):
        _become()
    if name in globals():
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


codecs.register(_search)
