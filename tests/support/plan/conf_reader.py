"""A small reader of jail.conf(5): enough to see what jail(8) would read, written from the manual page."""


def read_conf(text: str) -> tuple[str, list[tuple[str, list[str] | None]]]:
    """Return the name of the one block and its parameters; None for parameters without a value."""
    words = _words(text)
    name, brace, *body = words
    assert brace == ("", "{") and body[-1] == ("", "}")
    params: list[tuple[str, list[str] | None]] = []
    statement: list[tuple[str, str]] = []
    for word in body[:-1]:
        if word == ("", ";"):
            params.append(_statement(statement))
            statement = []
        else:
            statement.append(word)
    assert not statement
    return name[0], params


def _statement(words: list[tuple[str, str]]) -> tuple[str, list[str] | None]:
    name = words[0][0]
    if len(words) == 1:
        return name, None
    assert words[1] == ("", "=")
    values = words[2:]
    assert all(word == ("", ",") for word in values[1::2])
    return name, [text for text, mark in values[::2] if not mark]


def _words(text: str) -> list[tuple[str, str]]:
    """Split into (word, "") and ("", mark)."""
    words: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character.isspace():
            position += 1
        elif character in "{};=,":
            words.append(("", character))
            position += 1
        elif character == "'":
            word, position = _quoted(text, position + 1)
            words.append((word, ""))
        else:
            start = position
            while text[position] not in "{};=,'\"#$\\ \t\n":
                position += 1
            assert position > start, f"{character!r} means something to jail.conf outside quotes"
            words.append((text[start:position], ""))
    return words


def _quoted(text: str, position: int) -> tuple[str, int]:
    word = ""
    while text[position] != "'":
        if text[position] == "\\":
            position += 1
            word += {"n": "\n"}.get(text[position], text[position])
        else:
            word += text[position]
        position += 1
    return word, position + 1
