"""A JupyterLab server of the tests' own, and the browser that looks at it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from conftest import PATIENCE, ROOT
from playwright.sync_api import Browser, Playwright

from ui.patience import patient_extensions

BIN = Path(sys.executable).parent
# As root Chromium refuses its own sandbox; and no name but ours is ever looked up.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
ABSENT = (
    "no browser / 没有浏览器: make test installs the Debian package chromium; "
    "elsewhere set LABKIT_BROWSER=/path/to/chrome, or leave these tests out by LABKIT_NO_BROWSER=1"
)


def browser_path() -> str | None:
    """The browser to drive: LABKIT_BROWSER, Debian's Chromium, or Google Chrome.

    Not chromium-browser: on Ubuntu that is a script that asks for snap, and a snap's browser sees
    neither our files nor Playwright's pipe.
    """
    chosen = os.environ.get("LABKIT_BROWSER")
    names = (chosen,) if chosen else ("chromium", "google-chrome", "google-chrome-stable")
    found = filter(None, map(shutil.which, names))
    return next((path for path in found if not os.path.realpath(path).startswith("/snap/")), None)


def launch(playwright: Playwright, home: Path) -> Browser:
    """Start the browser, with `home` for what it keeps."""
    path = browser_path()
    assert path, ABSENT
    (home / "tmp").mkdir()
    env: dict[str, str | float | bool] = {
        **os.environ,
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
    }
    return playwright.chromium.launch(executable_path=path, args=FLAGS, env=env)


class Lab:
    """JupyterLab on 127.0.0.1, with the project's settings and directories of its own.

    url: its address. root: the folder it shows. home: everything it keeps besides. warm: whether
    its kernels are forks of what has imported everything (kernels.py). more: variables of its
    environment besides.
    """

    def __init__(
        self, home: Path, root: Path, more: Mapping[str, str] | None = None, *, warm: bool = False
    ) -> None:
        self.home, self.root, self.warm, self.more = home, root, warm, more or {}
        self.log = home / "lab.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"

    def __enter__(self) -> Self:
        # The kernels' sockets are in it, with short names. unix(7)
        self._sockets = tempfile.TemporaryDirectory(prefix="labkit-lab-")
        with self.log.open("wb") as log:
            self._server = subprocess.Popen(
                self._command(),
                env=self._env(),
                cwd=ROOT / "tests",  # where `-m` looks first
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 2 * PATIENCE
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError(self.log.read_text())
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, which ends its kernels; then whatever else is in its session."""
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        self._sockets.cleanup()

    def _command(self) -> list[str]:
        port = self.url.rpartition(":")[2]
        forks = "--AsyncMappingKernelManager.kernel_manager_class=ui.kernels.ForkingManager"
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
            *(f"--ServerApp.root_dir={self.root}", "--IdentityProvider.token="),
            "--LabApp.expose_app_in_browser=True",  # window.jupyterapp, as JupyterLab's own tests
            # A port may be another lab's meanwhile: JupyterLab never shuts down such a kernel.
            "--KernelManager.transport=ipc",
            f"--LabApp.extra_labextensions_path={patient_extensions(self.home / 'extensions')}",
            *((forks,) if self.warm else ()),
        ]

    def _env(self) -> dict[str, str]:
        own = {
            "HOME": "",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        chosen = {"LABKIT_LANG", "LABKIT_LAB"}  # by the developer
        return {
            **{name: value for name, value in os.environ.items() if name not in chosen},
            **{name: str(self.home / folder) for name, folder in own.items()},
            "JUPYTER_CONFIG_PATH": str(ROOT / "scripts" / "jupyter"),  # as scripts/lab
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTER_RUNTIME_DIR": self._sockets.name,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            **self.more,
        }

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/api/status", timeout=10).close()
        except OSError:
            return False
        return True

    def said(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="backslashreplace").splitlines()[-60:])

    def set(self, plugin: str, **values: object) -> None:
        """Write settings of JupyterLab, as ``@jupyterlab/translation-extension/plugin``.

        A page loaded afterwards has them.
        """
        file = self.home / "settings" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
