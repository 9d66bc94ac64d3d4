"""Reading one JSON object of a document while collecting everything that is wrong with it.

The document has the right shape by now, or what had not was replaced by null: readers may trust the types of what
they find and must cope with anything being absent.
"""

from __future__ import annotations

from runjail.errors import InvalidConfig
from runjail.spec.problems import any_of, json_path, order, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runjail.spec.problems import Path


class Report:
    """All problems of one document, each with its place."""

    def __init__(self) -> None:
        self._problems: list[tuple[Path, str]] = []

    def add(self, path: Path, text: str) -> None:
        """Note one problem."""
        self._problems.append((path, text))

    def clean(self, *path: str | int) -> bool:
        """Tell whether nothing at or below `path` is wrong: rules between its fields make sense only then."""
        return not any(place[: len(path)] == path for place, _ in self._problems)

    def raise_if_any(self, what: str) -> None:
        """Raise InvalidConfig when there is any problem."""
        if not self._problems:
            return
        ordered = sorted(self._problems, key=lambda problem: order(problem[0]))
        raise InvalidConfig([f"{json_path(path)}: {text}" for path, text in ordered], what)


class Reader:
    """One object of the document: its values, where it stands, and where to report to."""

    def __init__(self, values: dict[str, Any], path: Path, report: Report) -> None:
        self.values, self.path, self.report = values, path, report

    def refuse(self, text: str, *below: str | int) -> None:
        """Report a problem with the object itself, or with something below it."""
        self.report.add((*self.path, *below), text)

    def has(self, key: str) -> bool:
        """Tell whether something was said; null counts as silence."""
        return self.values.get(key) is not None

    def flag(self, key: str) -> bool:
        """Return a boolean, False when absent."""
        return bool(self.values.get(key))

    def number(self, key: str) -> int | None:
        """Return a whole number, None when absent."""
        value: int | None = self.values.get(key)
        return value

    def text(self, key: str) -> str:
        """Return a string that the kernel can take, "" when absent."""
        return self._sound(self.values.get(key) or "", key)

    def texts(self, key: str) -> Iterator[tuple[int, str]]:
        """Yield the sound strings of a list with their positions."""
        for index, value in enumerate(self.values.get(key) or ()):
            plain = value is not None and value.isascii() and "\0" not in value  # most are, and calls cost more
            if plain or (value and self._sound(value, key, index)):
                yield index, value

    def section(self, key: str) -> Reader:
        """Return the object at `key`, an empty one when absent."""
        return Reader(self.values.get(key) or {}, (*self.path, key), self.report)

    def sections(self, key: str) -> Iterator[Reader]:
        """Yield the objects of a list."""
        for index, value in enumerate(self.values.get(key) or ()):
            if value is not None:
                yield Reader(value, (*self.path, key, index), self.report)

    def absolute(self, key: str) -> str:
        """Return a string that must be an absolute path; only its absence is left to the schema."""
        text = self.text(key)
        if not text.startswith("/") and self.has(key) and self.report.clean(*self.path, key):
            self.refuse(f"must be an absolute path, not {quote(text)}", key)
        return text

    def word(self, key: str, known: tuple[str, ...]) -> str:
        """Return a string that must be one of these."""
        word = self.text(key)
        if word not in known and self.report.clean(*self.path, key):
            self.refuse(f"must be {any_of(known)}, not {quote(word)}", key)
        return word

    def words(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return the strings of a list, each of which must be one of these."""
        words = tuple(self.texts(key))
        for index, word in words:
            if word not in known:
                self.refuse(f"{quote(word)} is not known", key, index)
        return tuple(word for _, word in words)

    def _sound(self, text: str, *below: str | int) -> str:
        """Return the text, or report it and return "": C strings end at NUL, lone surrogates encode to nothing."""
        if "\0" in text:
            self.refuse("must not contain a NUL character", *below)
            return ""
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                self.refuse("must be Unicode text, without lone surrogates", *below)
                return ""
        return text
