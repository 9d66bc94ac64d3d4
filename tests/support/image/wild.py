"""All images from the wild, and the table that says what becomes of each."""

from pathlib import Path

from tests.support.image.shapes import SHAPES, Shape
from tests.support.image.wild_documents import DOCUMENTS
from tests.support.image.wild_layers import LAYERS

TABLE = Path(__file__).resolve().parents[3] / "docs" / "wild-images.md"
WILD: dict[str, Shape] = {**SHAPES, **DOCUMENTS, **LAYERS}
RUNS = "runs"


def verdicts() -> dict[str, tuple[str, bool, bool, bool]]:
    """Return what the table says: of us, of skopeo, umoci and podman. Ours is "runs" or how an error begins."""
    found = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[1:] and cells[0] != "image":
            ours = cells[1].strip("`")
            found[cells[0]] = (ours, *(cell == "yes" for cell in cells[2:5]))
    return found  # type: ignore[return-value]
