"""labkit ns --tree: the user namespaces, what each owns, and lsns(8) of the same."""

import json
import sys
from collections.abc import Iterator

import pytest
from test_cli import labkit
from test_relations import UNSHARE, in_tree

from labkit.linux.namespaces import KINDS

LABKIT = [sys.executable, "-m", "labkit"]
Node = dict[str, object]


def flat(nodes: object, below: str, above: int = 0) -> Iterator[tuple[Node, int]]:
    """Each node of a tree in JSON, with the inode of the one that it hangs beneath."""
    assert isinstance(nodes, list)
    for node in nodes:
        yield node, above
        yield from flat(node.get(below, []), below, node["ns"])


def test_owners_are_those_of_lsns() -> None:
    both = in_tree(UNSHARE, "sh", "-c", f"{' '.join(LABKIT)} ns --tree --json; lsns -JT=owner")
    found, end = json.JSONDecoder().raw_decode(both)
    ours = {node["ns"]: node for node, _ in flat(found["tree"], "below")}
    theirs = list(flat(json.loads(both[end:])["namespaces"], "children"))
    assert {node["ns"] for node, _ in theirs if node["nprocs"]} <= set(ours)
    for node, owner in theirs:
        mine = ours[node["ns"]]
        assert mine["ons"] == owner
        assert mine["type"] == node["type"]
        # Some lsns leave the owner that no process is in out of their tree.
        assert (mine["nprocs"], mine["pid"] or 0) == (node["nprocs"], node["pid"] or 0)
    assert found["hidden"] == 0


def test_a_pid_namespace_hangs_beneath_its_parent_if_one_owns_both() -> None:
    found = json.loads(in_tree(UNSHARE, *LABKIT, "ns", "--tree", "--json"))
    nodes = {node["ns"]: (node, above) for node, above in flat(found["tree"], "below")}
    pids = [(node, above) for node, above in nodes.values() if node["type"] == "pid"]
    assert len(pids) == 3
    for node, above in pids:
        parent = nodes.get(node["pns"])
        same = parent is not None and parent[0]["ons"] == node["ons"]
        assert above == (node["pns"] if same else node["ons"])
    assert sum(above == node["pns"] for node, above in pids) == 1


def test_the_tree_in_words() -> None:
    head, *lines = in_tree(UNSHARE, *LABKIT, "ns", "--tree").splitlines()
    assert head.split() == ["命名空间", "namespace", "进程数", "processes", "PID", "名字", "name"]
    assert lines[0].startswith("user ")
    assert lines[0].endswith("uid 0")
    assert all(line[0] in "├└│ " for line in lines[1:])
    kinds = {line.strip("├└─│ ").split()[0] for line in lines}
    assert kinds == {kind.name for kind in KINDS}
    empty = [line for line in lines if " -  " in line]
    assert len(empty) == 1
    (elsewhere,) = (line for line in lines if "父 parent: pid" in line)
    parent = elsewhere.split()[-1]
    assert [line for line in lines if f"pid {parent}" in line and line != elsewhere]


def test_what_belongs_to_the_host_and_who_is_hidden(nobody: list[str]) -> None:
    lines = labkit("ns", "--tree", words=[*nobody, "-m", "labkit"], cwd="/").stdout.splitlines()
    assert lines[-1].startswith("内核不让我们看的进程：")
    words = [*nobody[:-1], *UNSHARE, "--user", "--map-root-user"]
    shown = in_tree(words, nobody[-1], "-m", "labkit", "ns", "--tree").splitlines()
    outside = {line.split()[0] for line in shown if line.endswith("归外面所有 owned outside")}
    assert outside == {"cgroup", "ipc", "net", "time", "uts"}
    assert "hides from us" not in shown[-1]


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_the_tree_is_of_all_processes(json_too: list[str]) -> None:
    done = labkit("ns", "--tree", "1", *json_too)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give no PID" in done.stderr
