"""What somebody meant who mistyped a word, or typed one of docker's or podman's."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SAME = {  # verbs of docker and podman, and ours
    "images": "image ls",
    "load": "image import",
    "ls": "list or image ls",
    "networks": "network ls",
    "rm": "delete or image rm",
    "rmi": "image rm",
    "save": "image export",
    "stop": "kill",
    "unpause": "resume",
    "volumes": "volume ls",
}
SAME_BELOW = {
    "delete": "rm",
    "history": "inspect",
    "list": "ls",
    "load": "import",
    "remove": "rm",
    "rmi": "rm",
    "save": "export",
}
OTHERWISE = {
    "build": "podman and buildah build images; runjail image import takes them",
    "info": "runjail check says what works on this machine",
    "port": "runjail inspect shows published ports",
    "restart": "a container runs once; run -d --restart starts its program again when it ends",
    "version": "runjail --version",
}


def hint(word: str, known: Iterable[str]) -> str | None:
    """Return a question for the hint of an error, None where nothing is close."""
    close = get_close_matches(word[:80], list(known), 3, 0.7)
    return f"did you mean {' or '.join(close)}?" if close else None


def verb_hint(verb: str, known: Iterable[str], of_images: Iterable[str]) -> str | None:
    """Return a hint for a verb that is none. verb: with its group before it; of_images: what `image` knows."""
    if verb in OTHERWISE:
        return OTHERWISE[verb]
    group, _, word = verb.rpartition(" ")
    same = SAME.get(verb) or (f"image {verb}" if verb in of_images else "")
    if group and f"{group} {SAME_BELOW.get(word)}" in (known := list(known)):
        same = f"{group} {SAME_BELOW[word]}"
    return f"did you mean {same}?" if same else hint(verb, known)
