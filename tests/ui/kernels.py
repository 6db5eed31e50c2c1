"""For the tests' JupyterLab: a manager of kernels that are forks."""

from jupyter_server.services.kernels.kernelmanager import ServerKernelManager
from kernels import Forking, warm

warm()  # it imports while the page is loaded


class ForkingManager(Forking, ServerKernelManager):
    """For the server."""
