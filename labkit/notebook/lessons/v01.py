"""What the cells of V0.1 have at hand."""

from labkit.container.contain import contain
from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.magics.docker import without_images

without_images()

__all__ = ["contain"]
__all__ += common.__all__
