"""%docker and %%docker in a real kernel."""

import os
import re
import signal
from pathlib import Path

import pytest
from conftest import marked, until
from test_child_magic import Kernel, kernel

__all__ = ["kernel"]  # a fixture

PLAIN = "from labkit.notebook.magics.docker import DockerMagics as d; d.images = "


@pytest.fixture(autouse=True)
def names_alone(kernel: Kernel) -> None:
    """An image is only a name, as in the lessons before V0.7."""
    assert kernel.run(f"{PLAIN}False").error == {}


NOTE = "labkit: ubuntu 眼下只是个名字：程序用的是这台机器的文件；要用镜像，见 labkit v0.7 run。 / "


def test_a_line_runs_a_container(kernel: Kernel) -> None:
    cell = kernel.run("%docker run --rm -h box ubuntu sh -c 'echo $HOME {1} $((6 * 7)); hostname'")
    note, *lines = cell.lines()
    assert note.startswith(NOTE)
    assert "only a name so far" in note
    assert lines == ["/root {1} 42", "box"]
    assert (cell.stderr, cell.error) == ("", {})
    assert kernel.value("(_docker.returncode, _docker.stdout)") == (0, "/root {1} 42\nbox\n")


def test_the_body_of_a_cell_is_the_script(kernel: Kernel) -> None:
    cell = kernel.run("""
        %%docker run --rm ubuntu sh
        hostname
        ps -o pid=,comm=
        for word in '盒子' "$PWD"; do echo $word; done
        echo wrong >&2
    """)
    _, name, *lines = cell.lines()
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert [line.split() for line in lines[:2]] == [["1", "sh"], ["3", "ps"]] or lines[
        0
    ].split() == [
        "1",
        "sh",
    ]
    assert lines[-2:] == ["盒子", "/"]
    assert cell.stderr == "wrong\n"


def test_output_comes_while_it_runs(kernel: Kernel, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    cell = kernel.begin(f"""
        %%docker run ubuntu sh
        printf 'no end of line'; cat {tmp_path / "go"}
        echo seen >&2; cat {tmp_path / "go"}
    """)
    for seen in ("no end of line", "seen\n"):
        cell.until_said(seen)
        (tmp_path / "go").write_text("")
    assert cell.finish().error == {}


@pytest.mark.parametrize(
    ("script", "status", "told"),
    [
        ("exit 3", 3, "以退出状态 3 结束"),
        ("kill -TERM $$; exec sleep 1", 0, ""),  # PID 1 without a handler: no signal ends it
        ("exec nosuch", 127, "exit status 127"),
    ],
)
def test_another_status_than_0_is_an_error(
    kernel: Kernel, script: str, status: int, told: str
) -> None:
    cell = kernel.run(f"%%docker run ubuntu sh\n{script}")
    assert kernel.value("_docker.returncode") == status
    assert bool(cell.error) == bool(status)
    if status:
        assert cell.error["ename"] == "ContainerFailed"
        assert told in cell.error["evalue"]
        assert len(cell.error["traceback"]) == 1


def test_a_program_that_is_not_there(kernel: Kernel) -> None:
    cell = kernel.run("%docker run ubuntu nosuch")
    assert cell.stderr == "labkit: nosuch: No such file or directory\n"
    assert "127" in cell.error["evalue"]


def test_what_the_kernel_refuses_is_its_own_error(kernel: Kernel) -> None:
    cell = kernel.run("%docker run -w /nowhere ubuntu true")
    assert cell.error["ename"] == "FileNotFoundError"
    assert 'chdir("/nowhere")' in cell.error["evalue"]


def test_an_option_that_is_not_built_yet(kernel: Kernel) -> None:
    cell = kernel.run("%docker run --link-local-ip x ubuntu true")
    assert cell.stderr.startswith("UsageError: --link-local-ip 还没有：")
    assert "--link-local-ip is not here: " in cell.stderr
    assert "UsageError: No closing quotation" in kernel.run("%docker run u sh -c 'echo").stderr
    assert "only run" in kernel.run("%docker version").stderr


def test_who_the_program_is_and_what_it_may_do(kernel: Kernel) -> None:
    line = "%docker run -u nobody --security-opt apparmor=unconfined ubuntu id -un"
    cell = kernel.run(line)
    assert [each.startswith("labkit: ") for each in cell.lines()] == [True, True, False]
    assert "no AppArmor profile" in cell.lines()[1]
    assert cell.lines()[2] == "nobody"
    cell = kernel.run("%docker run --cap-drop nope ubuntu true")
    assert 'invalid CapDrop: unknown capability: "CAP_NOPE"' in cell.stderr


def test_a_terminal_is_for_a_line(kernel: Kernel) -> None:
    assert "-t" in kernel.run("%%docker run -it ubuntu sh\necho no").stderr
    cell = kernel.run("%docker run -t ubuntu sh -c 'test -t 1 && stty size; cat'")
    assert cell.lines()[1:] == ["24 80"]


def test_a_terminal_is_the_value_of_the_line(kernel: Kernel) -> None:
    kernel.run("shell = %docker run --rm -it -h box ubuntu sh")
    assert kernel.value("type(shell).__name__, shell.command") == ("Terminal", "sh")
    inside = kernel.value("shell.running.pid")
    assert Path(f"/proc/{inside}/cmdline").read_bytes() == b"sh\0"
    kernel.run("shell.write('hostname; exit 5\\r')")
    until(lambda: bool(kernel.value("shell.status")))
    assert "退出状态 5" in kernel.value("shell.status")[0]
    assert "\nbox\r" in kernel.value("shell.text()")
    kernel.run("shell.close()")


def test_an_interrupt_ends_it(kernel: Kernel) -> None:
    kernel.run("%docker run ubuntu true")
    before = marked()
    cell = kernel.begin("%%docker run ubuntu sh\nsleep 1000 & echo ready; sleep 1001")
    cell.until_said("ready\n")
    os.kill(kernel.pid, signal.SIGINT)
    assert cell.finish().error["ename"] == "KeyboardInterrupt"
    assert "have been ended" in cell.error["traceback"][0]
    until(lambda: marked() <= before)


def test_help_says_what_there_is_and_what_comes(kernel: Kernel) -> None:
    for line in "%docker", "%docker --help", "%docker run --help":
        cell = kernel.run(line)
        assert (cell.stderr, cell.error) == ("", {})
        assert "-h, --hostname NAME" in cell.stdout
        assert "Options that are not here:" in cell.stdout


# --- From the store ------------------------------------------------------------------------------


@pytest.fixture
def store(kernel: Kernel, tmp_path: Path) -> str:
    """The state folder of a kernel whose containers run in images; it has none yet."""
    place = str(tmp_path / "state")
    kernel.run(f"os.environ['LABKIT_STATE'] = {place!r}; {PLAIN}True")
    return place


@pytest.mark.usefixtures("store")
def test_a_container_runs_in_its_image(kernel: Kernel) -> None:
    """busybox is made of this machine's own, if it can not be pulled."""
    cell = kernel.run("%docker run --network none busybox sh -c 'ls /bin/busybox; ls /usr/lib'")
    assert cell.lines() == ["/bin/busybox"]
    assert cell.stderr == "ls: /usr/lib: No such file or directory\n"
    cell = kernel.run("%%docker run -i --network none -v db:/d busybox sh\ntouch /d/x; ls /d")
    assert cell.lines() == ["x"]
    assert "No such container" not in cell.stdout
    assert "UsageError: 镜像没有说" in kernel.run("%docker run --entrypoint '' busybox").stderr
    assert "no -d in a cell" in kernel.run("%docker run -d busybox true").stderr


def test_where_an_image_cannot_be_had_the_host_stands_in(kernel: Kernel, store: str) -> None:
    """One line says so. Nothing is changed on this machine."""
    script = "echo 1 > /labkit-new; ls /labkit-new"
    cell = kernel.run(f"%docker run --pull never --network none ubuntu sh -c '{script}'")
    said, *rest = cell.lines()
    assert said.startswith("labkit: 没有镜像 ubuntu，也拉取不到（没有这个镜像：ubuntu:latest）")
    assert "this machine's own root stands in for it" in said
    assert rest == ["/labkit-new"]
    assert not os.path.exists("/labkit-new")
    assert not os.path.exists(f"{store}/lib/images")


def test_the_root_lives_as_long_as_its_terminal(kernel: Kernel, store: str) -> None:
    kernel.run("from labkit.images import base, store as s; base.busybox(s.Store())")
    roots = Path(store, "lib/images/containers")
    kernel.run("shell = %docker run -it --network none busybox")
    kernel.run("shell.write('cat /proc/1/comm > /x; exit 4\\r')")
    until(lambda: bool(kernel.value("shell.status")))
    (root,) = (each for each in roots.iterdir() if each.is_dir())
    assert (root / "upper/x").read_text() == "sh\n"
    kernel.run("shell.close()")
    until(lambda: not root.exists())
