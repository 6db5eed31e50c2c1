"""The three levels of a lesson's cell, in kernels that may do all, little or nothing."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from nbformat import NotebookNode
from test_cgroups import READ_ONLY
from test_notebooks import SOURCES, build, tags

from labkit import CLONE_NEWNS, CLONE_NEWUTS, Container, run, start
from labkit.engine import connection
from labkit.engine.connection import engine_pids, rootless
from labkit.linux.confinement import Capabilities, Confinement, capabilities
from labkit.linux.refusal import Refusal, diagnose
from labkit.notebook.levels.saved_outputs import SavedOutput, beginning

# Root without capabilities, so that it may read this project wherever it lies. To be mapped as
# root of a user namespace a root has to have one: CAP_SETFCAP. user_namespaces(7)
LITTLE = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all")
# As Docker has it: what is hidden of /proc lets no other be mounted in a user namespace.
MASKED = ("sh", "-c", 'mount --bind /dev/null /proc/keys && exec "$@"', "sh", *LITTLE)
# A line of JSON is a notebook; so is the answer. Each has a kernel of its own.
RUN = """
import json, os, sys
import nbformat
from kernels import ForkingKernel
from nbclient import NotebookClient

for line in sys.stdin:
    notebook = nbformat.reads(line, as_version=4)
    client = NotebookClient(
        notebook, kernel_name="python3", timeout=240, allow_errors=True,
        resources={"metadata": {"path": "notebooks"}}, kernel_manager_class=ForkingKernel,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute(env=os.environ | {"LABKIT_PROGRESS": "", "LABKIT_LANG": ""})
    print(json.dumps(notebook), flush=True)
"""
# As in docker run without --privileged: nobody makes a group there.
UNCONTROLLED = ("sh", "-c", f'{READ_ONLY}; exec "$@"', "sh")
DOCTOR = "from labkit.notebook import doctor\n\ndoctor()"


class Machine:
    """A process that may do "all", "little" (user namespaces), "masked" or "nothing".

    It runs one notebook after the other. masked: little, without a /proc in a user namespace.
    uncontrolled: all, but its control groups are read-only.
    """

    def __init__(self, machine: str) -> None:
        given, asks = os.pipe()
        answers, told = os.pipe()
        self._running = start(boxed(machine), stdin=given, stdout=told)
        os.close(given)
        os.close(told)
        self._asks, self._answers = open(asks, "w"), open(answers)  # noqa: SIM115

    def execute(self, notebook: NotebookNode) -> NotebookNode:
        """The notebook, run by a kernel of its own."""
        self._asks.write(json.dumps(notebook) + "\n")
        self._asks.flush()
        answer = self._answers.readline()
        assert answer, self._running.wait().stderr
        done: NotebookNode = nbformat.from_dict(json.loads(answer))
        return done

    def close(self) -> None:
        """Let it end."""
        self._asks.close()
        assert self._running.wait(60).returncode == 0
        self._answers.close()


def boxed(machine: str) -> Container:
    """What a machine runs, and within which bounds."""
    argv = (sys.executable, "-c", RUN)
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    box = Container(argv, cwd=str(ROOT), env=env)
    match machine:
        case "little":
            return replace(box, argv=(*LITTLE, *argv))
        case "masked":
            return replace(box, argv=(*MASKED, *argv), cloneflags=CLONE_NEWNS)
        case "uncontrolled":
            return replace(box, argv=(*UNCONTROLLED, *argv), cloneflags=CLONE_NEWNS)
        case "nothing":  # as in docker run without flags, and worse: not even root's own
            return replace(box, capabilities=(), no_new_privs=True, seccomp="default")
    return box


MACHINES: dict[str, Machine] = {}


@pytest.fixture(scope="module", autouse=True)
def machines_end(nothing_left: None) -> Iterator[None]:  # noqa: ARG001 - they end before
    """Each is started once, when it is first asked for something."""
    yield
    end_machines()


def end_machines() -> None:
    while MACHINES:
        MACHINES.popitem()[1].close()


def executed(given: NotebookNode, machine: str) -> NotebookNode:
    """`given` run by a kernel on a machine of this kind."""
    if machine not in MACHINES:
        MACHINES[machine] = Machine(machine)
    return MACHINES[machine].execute(given)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    found: list[NotebookNode] = build.code_cells(notebook)
    return found


def notebook_of(*cells: str) -> NotebookNode:
    made = [nbformat.v4.new_code_cell(source) for source in (DOCTOR, *cells)]
    notebook: NotebookNode = nbformat.v4.new_notebook(cells=made)
    return notebook


def labels(cell: NotebookNode) -> list[NotebookNode]:
    return [o for o in cell.outputs if o.get("metadata", {}).get("labkit", {}).get("cell")]


def levels(cell: NotebookNode) -> list[str]:
    return [label.metadata.labkit.cell for label in labels(cell)]


def text(cell: NotebookNode) -> str:
    return "".join(
        "".join(o.get("text", "")) + o.get("data", {}).get("text/plain", "") for o in cell.outputs
    )


@pytest.mark.parametrize("machine", ["little", "nothing"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_notebook_runs_to_its_end_on_any_machine(source: Path, machine: str) -> None:
    saved = nbformat.read(build.notebook_of(source), as_version=4)
    done = executed(nbformat.read(build.notebook_of(source), as_version=4), machine)
    for cell, before in zip(code_cells(done), code_cells(saved), strict=True):
        failed = [o for o in cell.outputs if o.output_type == "error"]
        assert not failed or "raises-exception" in tags(cell), (cell.id, failed)
        asks = cell.id.startswith(("language", "exercise"))
        assert len(labels(cell)) == (not asks), (cell.id, text(cell))
        if levels(cell) == ["recorded"]:
            assert build.sanitized(shown(cell), []) == build.sanitized(shown(before), []), cell.id
    found = {level for cell in code_cells(done) for level in levels(cell)}
    assert ("rootless" in found) == (machine == "little")
    assert "recorded" in found or machine == "little"


def test_where_no_group_can_be_made_a_cell_is_recorded_and_says_so() -> None:
    (source,) = (each for each in SOURCES if each.stem == "v1.0_docker")
    done = executed(nbformat.read(build.notebook_of(source), as_version=4), "uncontrolled")
    for cell in code_cells(done):
        failed = [o for o in cell.outputs if o.output_type == "error"]
        assert not failed or "raises-exception" in tags(cell), (cell.id, failed)
    said = {cell.id: text(cell) for cell in code_cells(done) if levels(cell) == ["recorded"]}
    assert {*said} == {"fields-evidence", "detached", "monitor"}
    for name in ("fields-evidence", "detached"):
        assert re.search(r"labkit: .*/sys/fs/cgroup.*Read-only file system", said[name])
    assert "needs `web` from an earlier cell" in said["monitor"]


def shown(cell: NotebookNode) -> list[Any]:
    """What a cell shows, of a labelled one below its label; an error as its text."""
    at = cell.outputs.index(labels(cell)[0]) + 1 if labels(cell) else 0
    found: list[Any] = []
    for output in cell.outputs[at:]:
        if output.output_type == "stream":
            found.append(output.text)
        elif output.output_type == "error":
            found.append("\n".join(output.traceback) + "\n")
        elif "application/vnd.jupyter.widget-view+json" not in output.data:
            found.append(dict(output.data))
    # A traceback is shown on the stream of errors, which may have begun before.
    joined: list[Any] = []
    for each in found:
        if joined and isinstance(each, str) and isinstance(joined[-1], str):
            joined[-1] += each
        else:
            joined.append(each)
    return joined


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ("little", "[rootless] 这台机器不许我们直接做的"),
        ("masked", "[rootless] 这台机器不许我们直接做的"),
        ("nothing", "[录制 recorded] 这台机器不许做的"),
    ],
)
def test_doctor_says_in_a_line_what_is_to_be_expected(machine: str, said: str) -> None:
    (cell,) = code_cells(executed(notebook_of(), machine))
    assert text(cell).startswith(said)
    assert "CAP_SYS_ADMIN" in text(cell)
    assert "clone" in text(cell)
    assert ('mount("proc", ' in text(cell)) == (machine == "masked")
    assert 'lang="en"' in cell.outputs[0].data["text/html"]


def test_a_cell_that_the_learner_has_changed_fails_as_it_should() -> None:
    own = "from labkit import *\nrun(Container(('true',), cloneflags=CLONE_NEWUTS))"
    _, cell = code_cells(executed(notebook_of(own), "nothing"))
    assert [o.ename for o in cell.outputs] == ["PermissionError"]
    assert labels(cell) == []


def shipped(book: str, name: str) -> str:
    """A cell's source, as it is in the notebook."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{book}.ipynb", as_version=4)
    return next(str(cell.source) for cell in notebook.cells if cell.id == name)


def test_what_no_cell_has_made_yet_is_not_the_machines_fault() -> None:
    """Out of order: the cell says what is missing, as it would anywhere."""
    kinds, trace = shipped("v0.2_uts", "kinds"), shipped("v0.2_uts", "trace")
    done = code_cells(executed(notebook_of(kinds, trace), "nothing"))
    for cell, name in zip(done[1:], ("run", "named"), strict=True):
        assert [o.evalue for o in cell.outputs] == [f"name '{name}' is not defined"]
        assert labels(cell) == []


def test_a_cell_that_was_stopped_or_failed_by_mistake_has_no_label() -> None:
    sources = ["raise KeyboardInterrupt", "mistaken"]
    teach = f"""
from labkit.notebook.levels import saved_outputs
for source in {sources!r}:
    saved_outputs._cells()[source] = saved_outputs.SavedOutput(())
"""
    *_, stopped, mistaken = code_cells(executed(notebook_of(teach, *sources), "nothing"))
    assert [o.ename for o in stopped.outputs] == ["KeyboardInterrupt"]
    assert [o.ename for o in mistaken.outputs] == ["NameError"]


def test_too_many_processes_is_the_reason_where_it_is() -> None:
    """What Python says of it names no call."""
    sources = [
        "import os; raise BlockingIOError(11, os.strerror(11))",
        'raise RuntimeError("can\'t start new thread")',
    ]
    teach = f"""
from labkit.notebook.levels import saved_outputs
for source in {sources!r}:
    saved_outputs._cells()[source] = saved_outputs.SavedOutput(())
"""
    for cell in code_cells(executed(notebook_of(teach, *sources), "nothing"))[2:]:
        assert levels(cell) == ["recorded"]
        assert "ulimit -u" in text(cell)
        assert "None" not in text(cell)


def test_a_lesson_begun_again_without_its_first_cell_is_labelled_too() -> None:
    """As after a restart of the kernel; the cell with %load_ext is refused something itself."""
    cells = [shipped("v0.3_mount_ipc_net", name) for name in ("shared", "make", "flags")]
    notebook = notebook_of(*cells)
    del notebook.cells[0]
    for machine, expected in (
        ("little", ["rootless", "real", "rootless"]),
        ("nothing", ["recorded", "real", "recorded"]),
    ):
        found = code_cells(executed(notebook, machine))
        assert [level for cell in found for level in levels(cell)] == expected


def test_blank_lines_and_spaces_at_a_lines_end_make_no_other_cell() -> None:
    before, kinds = shipped("v0.2_uts", "same-name"), shipped("v0.2_uts", "kinds")
    for machine, level in (("little", "rootless"), ("nothing", "recorded")):
        cells = before.replace("\n", " \n\n"), "\n" + kinds.replace("\n", " \n") + "\n\n"
        *_, cell = code_cells(executed(notebook_of(*cells), machine))
        assert levels(cell) == [level]


@pytest.fixture(scope="module")
def here() -> list[NotebookNode]:
    """Cells run by a kernel that may do all, of which four pass for a lesson's."""
    known = {
        "print('real')": "",
        "raise AssertionError": "",
        "open('/proc/self/mem', 'x')": "",
        "print('half'); raise refusal('mkdir(\"g\")', 16)": "",
    }
    teach = f"""
from labkit.linux.refusal import refusal
from labkit.notebook.levels import saved_outputs
for source in {list(known)!r}:
    output = {{"output_type": "stream", "name": "stdout", "text": "as it was recorded"}}
    saved_outputs._cells()[source] = saved_outputs.SavedOutput((output,))
"""
    engines = "import labkit.engine.connection\nprint(len(labkit.engine.connection.engine_pids()))"
    notebook = notebook_of(teach, *known, engines)
    return code_cells(executed(notebook, "all"))


def test_where_all_is_allowed_nothing_is_labelled(here: list[NotebookNode]) -> None:
    assert "[真实 real]" in text(here[0])
    assert text(here[2]) == "real\n"
    assert text(here[6]) == "1\n"  # nor is there a second engine


def test_where_all_is_allowed_a_mistake_is_not_hidden(here: list[NotebookNode]) -> None:
    for cell, name in zip(here[3:5], ("AssertionError", "FileExistsError"), strict=True):
        assert [o.ename for o in cell.outputs] == [name]


def test_what_the_kernel_refuses_is_shown_as_recorded_anywhere(here: list[NotebookNode]) -> None:
    assert levels(here[5]) == ["recorded"]
    assert 'mkdir("g") = EBUSY' in text(here[5])
    assert text(here[5]).endswith("as it was recorded")
    assert "half" not in text(here[5])


INTERRUPTED = """
from labkit.engine.connection import is_rootless
if is_rootless():
    raise KeyboardInterrupt
raise PermissionError(1, "unshare(0): Operation not permitted")
"""


def test_an_interrupt_is_one_on_the_rootless_way_too() -> None:
    """The cells after it are not to run: what the kernel replies says that it failed."""
    teach = f"""
from labkit.notebook.levels import saved_outputs
saved_outputs._cells()[{INTERRUPTED.strip()!r}] = saved_outputs.SavedOutput(())
"""
    ask = "print(repr(get_ipython().last_execution_result.error_in_exec))"
    notebook = notebook_of(teach, INTERRUPTED.strip(), ask)
    *_, cell, told = code_cells(executed(notebook, "little"))
    assert [o.ename for o in cell.outputs if o.output_type == "error"] == ["KeyboardInterrupt"]
    assert levels(cell) == []  # it was not done
    assert text(told) == "KeyboardInterrupt()\n"


CHECK = """
from labkit.notebook.exercises import {lesson}
each = {lesson}.{name}
each.check(each.answer())
"""


@pytest.mark.parametrize(("machine", "verdict"), [("little", "✓"), ("nothing", "△")])
def test_an_exercise_is_judged_by_root_of_a_user_namespace(machine: str, verdict: str) -> None:
    asked = [("ex02", "rename"), ("ex03", "contain"), ("ex04", "reap")]
    cells = [CHECK.format(lesson=lesson, name=name) for lesson, name in asked]
    for cell in code_cells(executed(notebook_of(*cells), machine))[1:]:
        assert text(cell).startswith(verdict), text(cell)


WIDGETS = """
from labkit import *
from labkit.notebook import choose, steps
box = Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="box")
"""


@pytest.mark.parametrize(
    ("machine", "said"), [("little", "(rootless)"), ("nothing", "Operation not permitted")]
)
def test_widgets_go_the_same_way(machine: str, said: str) -> None:
    cells = WIDGETS, "choose(box)", "steps(box)"
    *_, chosen, stepped = code_cells(executed(notebook_of(*cells), machine))
    assert said in text(chosen)
    assert ("\nbox\n" in text(chosen)) == (machine == "little")
    assert ("sethostname" in text(stepped)) == (machine == "little")


AS_NOBODY = """
from dataclasses import replace
from labkit import *
from labkit.engine.connection import rootless
box = Container(("sh", "-c", "id -u; hostname; cat /proc/self/uid_map"), hostname="box",
                cloneflags=CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID, proc=True)
with rootless():
    print(run(box).stdout, run(replace(box, rootless=True)).stdout)
    with start(replace(box, argv=("sleep", "100"))) as running:
        print(running.exec(("hostname",)).stdout, running.exec(("sh", "-c", "echo $$")).stdout)
print(run(Container(("id", "-u"))).stdout)
"""


def test_rootless_containers_of_a_user_without_privileges(nobody: list[str]) -> None:
    done = subprocess.run([*nobody, "-c", AS_NOBODY], capture_output=True, text=True, cwd="/")
    assert done.stderr == ""
    *boxes, exec_name, exec_pid, outside = done.stdout.split()
    assert boxes == ["0", "box", "0", "65534", "1", "0", "box", "0", "0", "1"]
    assert (exec_name, outside) == ("box", "65534")
    assert int(exec_pid) > 1


def test_rootless_is_this_threads_and_ends_with_its_block() -> None:
    end_machines()  # they are this process's containers
    outside = run(Container(("true",))).inodes
    with rootless(), ThreadPoolExecutor(1) as other:
        assert other.submit(run, Container(("true",))).result().inodes == outside
        inside = run(Container(("true",), cloneflags=CLONE_NEWUTS)).inodes
    assert {name for name in inside if inside[name] != outside[name]} == {"user", "uts"}
    assert run(Container(("true",))).inodes == outside
    assert len(engine_pids()) == 2
    connection.close()  # both of them
    assert engine_pids() == set()


def test_where_there_can_be_no_user_namespace_rootless_says_so() -> None:
    program = "from labkit.engine.connection import rootless\nwith rootless(): pass"
    box = Container((sys.executable, "-c", program), seccomp="default", capabilities=())
    done = run(box)
    assert done.stderr.splitlines()[-3].startswith(
        "PermissionError: [Errno 1] unshare(CLONE_NEWUSER): Operation not permitted"
    ), done.stderr


@pytest.mark.parametrize(
    ("call", "capability"),
    [
        ("unshare(CLONE_NEWUTS)", "CAP_SYS_ADMIN"),
        ("prctl(PR_CAPBSET_DROP, CAP_CHOWN)", "CAP_SETPCAP"),
        ('write(3, "0 100000 65536\\n", 15)', "CAP_SETUID"),
        ("setresgid(0, 0, 0)", "CAP_SETGID"),
        ('chroot("/mnt")', "CAP_SYS_CHROOT"),
    ],
)
def test_the_reason_names_the_capability_that_the_call_asks_for(call: str, capability: str) -> None:
    held = Capabilities(*[() for _ in capabilities().__dataclass_fields__])
    why = diagnose(Refusal(call, 1, False, held, Confinement("disabled", False, "", {}))).why
    assert capability in why.en


def test_a_recorded_error_is_known_by_its_class_errno_and_call() -> None:
    line = 'PermissionError: [Errno 1] mount("a", 3): no'
    program = SavedOutput(
        ({"output_type": "stream", "name": "stderr", "text": f"  File\n{line}\n"},)
    )
    assert program.failed_with(beginning("PermissionError", 1, 'mount("b", 4)'))
    assert not program.failed_with(beginning("PermissionError", 1, 'mount2("a", 3)'))
    assert not program.failed_with(beginning("PermissionError", 13, 'mount("a", 3)'))
    cell = SavedOutput(({"output_type": "error", "ename": "TimedOut", "evalue": "sh did not end"},))
    assert cell.failed_with(beginning("TimedOut", 0, ""))
    assert not cell.failed_with(beginning("TimedOutError", 0, ""))
    plain = SavedOutput(
        ({"output_type": "error", "ename": "OSError", "evalue": "[Errno 22] Invalid argument"},)
    )
    assert plain.failed_with(beginning("OSError", 22, ""))
