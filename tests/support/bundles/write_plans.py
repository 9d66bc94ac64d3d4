"""Write plan.txt of every example anew, after a deliberate change: `python -m tests.support.bundles.write_plans`."""

from pathlib import Path

from runjail import jsonio
from runjail.plan.plan import make_plan
from runjail.plan.show import as_text
from runjail.spec.parse import parse

EXAMPLES = Path(__file__).resolve().parents[3] / "bundles"


def plan_text(bundle: Path, os: str = "freebsd") -> str:
    """Return the plan of one example as it would be in /bundles, on any machine."""
    spec = parse(jsonio.loads((bundle / "config.json").read_text()), os)
    name = bundle.name
    plan = make_plan(spec, container_id=name, bundle=f"/bundles/{name}", state=f"/var/run/runjail/{name}", os=os)
    return as_text(plan, spec)


if __name__ == "__main__":
    for config in sorted(EXAMPLES.glob("*/config.json")):
        (config.parent / "plan.txt").write_text(plan_text(config.parent))
