"""What the cells of V0.5 have at hand: how maps are written, how capabilities are given up."""

from tempfile import NamedTemporaryFile

from labkit.container.rights import bound, keep
from labkit.container.user_namespace import map_ids
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.confinement import capabilities
from labkit.linux.id_maps import map_files
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.magics.docker import without_images
from labkit.notebook.widgets.stepper import steps

without_images()

__all__ = [
    "CAPABILITIES",
    "NamedTemporaryFile",
    "bound",
    "capabilities",
    "keep",
    "map_files",
    "map_ids",
    "steps",
]
__all__ += common.__all__
