"""What a notebook's cell uses; nothing outside this folder imports it."""

from labkit.notebook.show import compare, diff, source

__all__ = ["compare", "diff", "source"]
