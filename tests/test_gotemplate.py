"""Go's templates: what each prints is what Go's own text/template prints."""

import pytest

from labkit.docker.gotemplate import Broken, render

VALUE = {
    "Name": "one",
    "Labels": {"a.b": "c", "color": "red"},
    "Cmd": ["echo", "<hi>"],
    "Mounts": [{"Type": "bind", "RW": False}, {"Type": "volume", "RW": True}],
    "Networks": {"bridge": {"IP": "10.88.0.2"}, "lan": {"IP": "10.89.0.2"}},
    "Pid": 0,
    "Ports": {},
}
PRINTED = {
    "{{.Name}} {{ .Pid }} {{.Labels}} {{.Cmd}}": "one 0 map[a.b:c color:red] [echo <hi>]",
    '{{index .Labels "a.b"}} {{index .Cmd 1}} {{(index .Mounts 0).Type}}': "c <hi> bind",
    "{{len .Cmd}} {{len .Ports}} {{.Labels.color}}": "2 0 red",
    "{{if .Pid}}runs{{else}}not{{end}}": "not",
    "{{if .Ports}}p{{else if .Name}}{{.Name}}{{else}}none{{end}}": "one",
    "{{range .Mounts}}{{.Type}} {{.RW}};{{end}}": "bind false;volume true;",
    "{{range $name, $net := .Networks}}{{$name}}={{$net.IP}} {{end}}": (
        "bridge=10.88.0.2 lan=10.89.0.2 "
    ),
    "{{range .Ports}}x{{else}}nothing{{end}}": "nothing",
    "{{range $i, $e := .Cmd}}{{$i}}{{$e}}{{$.Name}}{{end}}": "0echoone1<hi>one",
    "{{with .Labels}}{{.color}}{{end}}{{with .Pid}}no{{end}}": "red",
    "{{$x := .Name}}{{$x}} {{- /* gone */ -}} !": "one!",
    "{{and .Name .Pid}} {{or .Pid .Name}} {{not .Pid}}": "0 one true",
    '{{eq .Name "one" }} {{ne .Pid 0}} {{gt (len .Cmd) 1}}': "true false true",
    '{{printf "%s=%d %v %q" .Name .Pid .Cmd .Name}}': 'one=0 [echo <hi>] "one"',
    '{{printf "%-5s|%5s|" .Name .Name}} 100%': "one  |  one| 100%",
    "{{print .Name .Pid}}{{println .Name}}": "one0one\n",
    '{{slice .Name 1 2}} {{true}} {{"q\\"uote"}} {{`raw`}}': 'n true q"uote raw',
}
DOCKERS = {  # functions that Docker adds
    "{{json .Labels}} {{json .Cmd}}": '{"a.b":"c","color":"red"} ["echo","\\u003chi\\u003e"]',
    '{{upper .Name}} {{lower "ONE"}} {{join .Cmd ","}}': "ONE one echo,<hi>",
    '{{.Name | upper | printf "%s!"}}': "ONE!",
    '{{range split "a,b" ","}}<{{.}}>{{end}}': "<a><b>",
    '{{truncate "abcdef" 3}} {{pad .Name 1 2}}|': "abc  one  |",
}


@pytest.mark.parametrize("template", [*PRINTED, *DOCKERS])
def test_what_a_template_prints(template: str) -> None:
    assert render(template, VALUE) == {**PRINTED, **DOCKERS}[template]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{.Name", "template: :1: unclosed action"),
        ("{{if .Name}}", "template: :1: unexpected EOF"),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{fly .Name}}", 'template: :1: function "fly" not defined'),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("{{(len .Name}}", "template: :1: unclosed left paren"),
        ("{{.Name ! }}", "template: :1: unexpected '!' in command"),
        (
            "{{.Color}}",
            'template: :1:2: executing "" at <.Color>: map has no entry for key "Color"',
        ),
        ("{{index .Cmd 7}}", 'executing "" at <index>: error calling index'),
        ('{{.Name "x"}}', "can't give argument to non-function .Name"),
    ],
)
def test_what_is_wrong_with_a_template(template: str, told: str) -> None:
    with pytest.raises(Broken) as raised:
        render(template, VALUE)
    assert told in raised.value.args[0].en
