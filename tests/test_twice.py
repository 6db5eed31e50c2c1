"""What stands twice, because a program is to start fast or to be read alone, is equal."""

from labkit.engine import layout
from labkit.linux import door, seccomp_filter
from labkit.linux.flags import Clone
from labkit.linux.namespaces import KINDS
from labkit.notebook.views import dialects
from labkit.unshare import options

FLAGS = {kind.name: kind.flag for kind in KINDS}


def test_the_eight_kinds_are_the_same_everywhere() -> None:
    assert len(FLAGS) == 8
    assert {*FLAGS.values()} == {*Clone}
    assert tuple(FLAGS.items()) == layout.KINDS  # in this order: a score has the inodes so
    as_options = {"mount" if name == "mnt" else name: flag for name, flag in FLAGS.items()}
    assert as_options == options.KINDS
    assert {flag: f"--{name}" for name, flag in as_options.items()} == dialects._OPTIONS


def test_the_numbers_of_the_calls_are_those_of_the_whole_table() -> None:
    for column, machine in enumerate(door._MACHINES):
        theirs = seccomp_filter.numbers(machine)
        ours = {name: numbers[column] for name, numbers in door._TABLE.items()}
        assert ours == {name: theirs[name] for name in ours}
