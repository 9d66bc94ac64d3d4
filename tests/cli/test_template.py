"""The part of Go's templates that --format knows, with Go's own output as the expected value."""

from typing import Any

import pytest

from runjail.cli.template import Template
from runjail.errors import UsageError

ROW: dict[str, Any] = {
    "id": "web",
    "Pid": 7,
    "Up": True,
    "Gone": None,
    "State": {"Status": "running", "Codes": [1, "b"]},
    "Labels": {"a.b": "c d", "z": ""},
    "args": ["sh", "-c"],
    "Deep": [{"In": [{"X": 1}, {"X": 2}]}, {"In": [{"X": 3}]}],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{.ID}}", "web\n"),
        ("{{ .Id }}:{{.pid}}", "web:7\n"),
        ("{{- .Up -}}", "true\n"),
        ("{{.State.Status}}\\t{{.Args}}\\n", "running\t[sh -c]\n\n"),
        ("{{.Labels}}", "map[a.b:c d z:]\n"),
        ("{{json .State}}", '{"Status":"running","Codes":[1,"b"]}\n'),
        ("{{json .Gone}}{{json .Args}}", 'null["sh","-c"]\n'),
        ('{{index .Labels "a.b"}}{{index .Labels "none"}}', "c d\n"),
        ("{{index .State.Codes 1}}{{len .Args}}{{len .Labels}}", "b22\n"),
        ("<{{range .Args}}{{.}},{{end}}>", "<sh,-c,>\n"),
        ("{{range .Args}}table {{.}} {{end}}", "table sh table -c \n"),
        ("{{range .Labels}}{{println .}}{{end}}", "c d\n\n\n"),
        ("{{range .Deep}}{{range .In}}{{.X}}{{end}};{{end}}{{.Pid}}", "12;3;7\n"),
        ("plain", "plain\n"),
        ("table {{.ID}}\t{{.State.Status}}", "ID   STATUS\nweb  running\n"),
        ("table {{.ID}}\\t{{.Pid}}", "ID   PID\nweb  7\n"),
    ],
)
def test_what_is_known(text: str, expected: str) -> None:
    assert Template(text).render([ROW]) == expected


def test_a_line_for_each_row_and_other_names() -> None:
    template = Template("{{.Names}}", {"names": "id"})

    assert template.render([ROW, {"id": "db"}]) == "web\ndb\n"
    assert template.render([]) == ""
    assert Template("table {{.Names}}", {"names": "id"}).render([]) == "NAMES\n"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "{{.ID",
            "{{}}",
            "{{range .Args}}",
            "{{end}}",
            "{{if .Up}}x{{end}}",
            "{{.ID | json}}",
            "{{upper .ID}}",
            "{{json}}",
        ),
        *("{{json ID}}", "{{index .Labels}}", "{{len .Args 1}}", "{{json .ID .Pid}}", "{{.a-b}}", "{{..}}", '{{"x"}}'),
    ],
)
def test_what_is_not_known_is_refused_at_once(text: str) -> None:
    with pytest.raises(UsageError, match="--format: "):
        Template(text)


@pytest.mark.parametrize(
    "text",
    ["{{.Nope}}", "{{.State.Nope}}", "{{.ID.Nope}}", "{{index .Args 2}}", "{{index .Pid 0}}", "{{range .Pid}}{{end}}"],
)
def test_what_a_row_has_not(text: str) -> None:
    with pytest.raises(UsageError, match=r"no field|out of range|neither a list"):
        Template(text).render([ROW])
