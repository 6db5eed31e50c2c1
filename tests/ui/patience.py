"""What other people's parts of the page give up after seconds, they wait for a minute here.

A busy machine is slower than their authors thought. They are changed where the page gets them from:
a copy of the extension, which the lab of the tests serves in place of the installed one.
"""

import shutil
import sys
from pathlib import Path

INSTALLED = Path(sys.prefix, "share", "jupyter", "labextensions")
# ipywidgets waits for two seconds for a widget that a cell shows, and says then, for good, that it
# is not there, if all are loaded by that moment; and for four for a kernel that is asked for all of
# them. anywidget gives up a module after two.
SECONDS = {
    "@jupyter-widgets/jupyterlab-manager": {
        "Date.now()-o<2e3": "Date.now()-o<6e4",
        'did not respond in time"),4e3)': 'did not respond in time"),6e4)',
    },
    "anywidget": {"AbortSignal.timeout(2000)": "AbortSignal.timeout(60000)"},
}


def patient_extensions(place: Path) -> Path:
    """Write the copies into `place`, a folder for JupyterLab to look for extensions in first."""
    for name, changes in SECONDS.items():
        copy = shutil.copytree(INSTALLED / name, place / name)
        for before, after in changes.items():
            found = [file for file in copy.rglob("*.js") if before in file.read_text()]
            assert found, f"{name} has no {before!r} any more: look how long it waits now"
            for file in found:
                file.write_text(file.read_text().replace(before, after))
    return place
