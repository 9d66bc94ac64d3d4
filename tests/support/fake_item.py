"""A test as pytest hands it over."""

import pytest


class FakeItem:
    """A test as pytest hands it over. marks: its own and its file's."""

    def __init__(self, *marks: pytest.MarkDecorator, fixtures: tuple[str, ...] = ()) -> None:
        self.marks, self.fixturenames = [mark.mark for mark in marks], fixtures
        self.added: list[pytest.MarkDecorator] = []

    def iter_markers(self, name: str | None = None) -> list[pytest.Mark]:
        return [mark for mark in self.marks if name in (None, mark.name)]

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.added.append(mark)
