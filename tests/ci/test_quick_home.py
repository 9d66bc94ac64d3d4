"""The interpreter of our start scripts has a home with UTF-8 alone, and is otherwise as without it."""

import encodings
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import quick_home
from tests.support.program import TOP

PYTHON = os.path.realpath(sys.executable)
PLACE = TOP / ".venv" / "libexec" / "runjail" / "bin" / os.path.basename(PYTHON)
# A word in each codec that Python has, by all of its ways in: encoders, decoders, readers and writers of streams
CODECS = """
import codecs, io, sys
for name in {names}:
    try:
        codec = codecs.lookup(name)
        text = codec.decode(codec.encode("a-b ä€")[0])[0] if name not in {to_bytes} else codec.encode(b"word")[0]
        stream = io.BytesIO()
        codec.streamwriter(stream).write("word") if name not in {to_bytes} else 0
        stream.seek(0)
        print(name, codec.name, ascii(text), codec.streamreader(stream).read() if name not in {to_bytes} else "")
        print(codecs.getincrementalencoder(name)().encode("ab") if codec.incrementalencoder else "")
    except Exception as error:
        print(name, type(error).__name__)
import encodings
print(encodings.normalize_encoding("a.b-c"), encodings.aliases.aliases["latin"], hasattr(encodings, "nothing"))
print(ascii(io.TextIOWrapper(io.BytesIO(b"caf\\xc3\\xa9\\xff"), "utf-8", "surrogateescape").read()))
print([codecs.lookup(name).name for name in ("utf8", "UTF-8", "utf_8", "U8", "cp65001")], sys.path, sys.prefix)
"""
TO_BYTES = ["base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec"]

pytestmark = pytest.mark.linux


def said(python: str, code: str) -> str:
    """Return what a Python prints, without a word of complaint."""
    done = subprocess.run([python, "-IS", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture
def started(tmp_path: Path) -> str:
    """An interpreter that has this home."""
    facts = quick_home().ask(PYTHON)
    assert facts is not None
    return str(quick_home()._trial(str(tmp_path), PYTHON, facts))


def test_start_scripts_have_it() -> None:
    """Neither the real package nor what it imports is loaded, and no directory of Python's own is read."""
    names = said(str(PLACE), "import sys; print(*sorted(name for name in sys.modules if 'encodings' in name))")

    assert names.split() == ["encodings"]


def test_every_codec_is_as_ever(started: str) -> None:
    """Whatever else is asked for brings the real package."""
    names = [module.name for module in pkgutil.iter_modules(encodings.__path__)] + [
        "latin-1",
        "ASCII",
        "nonsense",
        "u8",
    ]
    code = CODECS.format(names=names, to_bytes=TO_BYTES)

    assert said(started, code) == said(PYTHON, code)


@pytest.mark.parametrize("imported", ["encodings.cp437, encodings.idna", "locale, importlib.util, sysconfig, ctypes"])
def test_imports_are_as_ever(imported: str, started: str) -> None:
    """Also of what has never been asked for as a codec, and of what asks where modules are."""
    code = f"import sys, {imported}; print([getattr(each, '__file__', '') for each in ({imported})], sys.path)"
    code += "; from encodings import utf_8, aliases; print(utf_8.__file__, aliases.__spec__.name)"

    assert said(started, code) == said(PYTHON, code)


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    """In a checkout that is read-only by then it is not tried either."""
    times = []
    for _ in range(2):
        assert quick_home().make(str(tmp_path), PYTHON) == f"{tmp_path}/home/bin"
        times.append({path: path.lstat().st_ctime_ns for path in tmp_path.rglob("*")})

    assert times[0] == times[1]


def test_a_python_that_differs_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not start so, or answers something else, is not made."""
    broken = tmp_path / "first_encodings.py"
    monkeypatch.setattr(quick_home(), "SOURCE", str(broken))
    for text in ("raise SystemExit(1)\n", "import codecs\n", ""):
        broken.write_text(text, encoding="utf-8")

        assert quick_home().make(str(tmp_path / "above"), PYTHON) == os.path.dirname(PYTHON)
    assert not (tmp_path / "above").exists()
