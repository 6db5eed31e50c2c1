"""The lab begins at its home page; what a kernel says reaches the page at once; Codespaces.

LABKIT_LAB is the folder that the lab shows, as `python -m labkit.notebook.home` has prepared it.

Without TCP_NODELAY, a short message waits until the page has acknowledged the one before it
(Nagle's algorithm), and the page's machine takes its time to do so (delayed acknowledgement): 40 ms
between a click on a widget and what came of it, or a key and its echo in a terminal. tcp(7)
"""

import os
import re
from asyncio import Future

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's own connection from a kernel to a page, which holds nothing back."""

    def connect(self) -> Future[None] | None:  # type: ignore[override]
        """As before, once the socket has TCP_NODELAY."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()


lab = os.environ.get("LABKIT_LAB", "")


class AsideCheckpoints(AsyncFileCheckpoints):
    """What JupyterLab can go back to, kept among the learner's files: it may read the project's."""

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Where a checkpoint of the file `path`, below the lab's folder, is kept."""
        stem, end = os.path.splitext(path.strip("/"))
        kept = os.path.join(lab, "lessons", ".labkit", "checkpoints", stem)
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        return f"{kept}-{checkpoint_id}{end}"


c = get_config()  # type: ignore[name-defined]  # noqa: F821 - traitlets runs this file
c.ServerApp.kernel_websocket_connection_class = PromptConnection

# Home, and the file browser at the learner's lessons instead of the project's files.
c.ServerApp.jpserver_extensions = {
    "jupyterlab_jupytext": False,
    "labkit.notebook.home.server": bool(lab),
}
if lab:
    c.ServerApp.root_dir = lab
    c.FileContentsManager.preferred_dir = "lessons"
    c.FileContentsManager.checkpoints_class = AsideCheckpoints
    c.LabApp.default_url = "/labkit"
    c.LabApp.expose_app_in_browser = True  # the link to home has JupyterLab save first
    # One docker of one's own for all lessons, and the page that says how far it is.
    os.environ.setdefault("LABKIT_MYDOCKER", os.path.join(lab, "lessons", "mydocker.py"))

# A codespace is reached through a proxy, which passes on what the page says of where it comes from
# (Origin) and where it goes to (Host) as it is, or puts localhost in the place of either.
if name := os.environ.get("CODESPACE_NAME"):
    port = os.environ.get("JUPYTER_PORT", "8888")
    domain = os.environ.get("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN", "app.github.dev")
    page = f"{name}-{port}.{domain}"
    # With both ends in the pattern it means the same, however the server compares.
    ours = rf"https://{re.escape(page)}|https?://localhost(:{re.escape(port)})?"
    c.ServerApp.allow_origin_pat = rf"\A(?:{ours})\Z"
    c.ServerApp.local_hostnames = ["localhost", page]
