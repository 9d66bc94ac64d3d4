"""What `make test-vm` runs in its guest: the list names what there is, each with its reason."""

import re
import subprocess

from tests.support.program import TOP

ROWS = [line for line in (TOP / ".ci/vm/selection").read_text(encoding="utf-8").splitlines() if line.strip()]


def test_every_test_of_the_selection_is_there() -> None:
    """pytest refuses to run anything where one name of many is wrong, half an hour after the guest was started."""
    rows = [row.partition("#")[0].strip() for row in ROWS if not row.startswith("#")]
    assert len(rows) > 10 and len(set(rows)) == len(rows)
    for row in rows:
        file, _, name = row.partition("::")
        text = (TOP / file).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name}\(", text, re.MULTILINE), row


def test_the_list_is_read_as_it_is_meant() -> None:
    """As .ci/vm/tests does: words without the reasons."""
    command = "sed 's/#.*//' .ci/vm/selection"
    assert command in (TOP / ".ci/vm/tests").read_text(encoding="utf-8")
    words = subprocess.run(["sh", "-c", command], cwd=TOP, capture_output=True, text=True, check=True).stdout.split()

    assert words and all(re.fullmatch(r"tests/[a-z_/]+\.py(::test_[a-z0-9_]+)?", word) for word in words)
