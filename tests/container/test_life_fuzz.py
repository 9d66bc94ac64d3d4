"""Documents at random, and a container of each: what it asks for is seen from inside, or it is refused.

RUNJAIL_FUZZ=N makes N containers, others each time, instead of a few, which are always the same.
"""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.container.aspects import APART, ASPECTS, Aspect, prepare
from tests.support.container.harness import Life
from tests.support.leftovers import Leftovers
from tests.support.program import Bundle, Runjail, base_config

pytestmark = [pytest.mark.linux, pytest.mark.needs("root", "cgroups", "user namespaces"), pytest.mark.limit(7200)]
EXAMPLES = int(os.environ.get("RUNJAIL_FUZZ", "20"))
SAME = "RUNJAIL_FUZZ" not in os.environ


@pytest.fixture
def life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Life:
    """A bundle in which all of it can be had, where a user namespace's root can come."""
    bundle = place / "bundle"
    bundle.mkdir(mode=0o755)
    shutil.copytree(machine_rootfs, bundle / "rootfs", symlinks=True)
    found = Life(runjail, Bundle(bundle, base_config(leftovers)))
    prepare(found)
    return found


def ask(life: Life, base: dict[str, Any], data: st.DataObject, aspects: list[Aspect]) -> list[tuple[str, str]]:
    """Say in a fresh document what the aspects say. Returns their questions and answers."""
    life.bundle.config = copy.deepcopy(base)
    return [aspect(data.draw, life.bundle.config) for aspect in aspects]


@pytest.mark.parametrize("aspect", ASPECTS, ids=lambda aspect: aspect.__name__)
def test_each_by_itself(life: Life, aspect: Aspect) -> None:
    """Where nothing else is asked for, none is refused on a machine that can do it."""
    base = life.bundle.config

    @settings(max_examples=max(2, EXAMPLES // len(ASPECTS)), database=None, derandomize=SAME)
    @given(data=st.data())
    def seen(data: st.DataObject) -> None:
        ((question, answer),) = ask(life, base, data, [aspect])
        said = life.run(question)
        assert (said.returncode, said.stderr, said.stdout) == (0, "", f"{answer}\n"), life.bundle.config

    seen()


def test_many_at_once(life: Life) -> None:
    """What is refused is so in one line, and leaves nothing; most is not refused."""
    base, refused = life.bundle.config, list[str]()

    @settings(max_examples=EXAMPLES, database=None, derandomize=SAME)
    @given(data=st.data())
    def seen(data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(ASPECTS), min_size=3, max_size=12, unique=True))
        together = [aspect for aspect in chosen if not APART.get(aspect, set()) & set(chosen)]
        wanted = ask(life, base, data, together)
        said = life.run("\n".join(f"echo '<{at}>'; {question}" for at, (question, _) in enumerate(wanted)))
        if said.returncode == 1 and said.stderr.startswith("runjail: "):
            assert said.stdout == "" and len(said.stderr.splitlines()) <= 2, said
            refused.append(said.stderr)
        else:
            lines = [line for at, (_, answer) in enumerate(wanted) for line in (f"<{at}>", answer)]
            assert (said.stderr, said.stdout.splitlines()) == ("", lines), life.bundle.config
        life.gone()

    seen()
    assert len(refused) <= EXAMPLES // 5, refused
