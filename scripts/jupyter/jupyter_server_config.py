"""What a kernel says reaches the page at once.

Without this, a short message waits until the page has acknowledged the one before it (Nagle's
algorithm), and the page's machine takes its time to do so (delayed acknowledgement): 40 ms between
a click on a widget and what came of it, or between a key and its echo in a terminal. tcp(7)
"""

from asyncio import Future

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's own connection from a kernel to a page, which holds nothing back."""

    def connect(self) -> Future[None] | None:  # type: ignore[override]
        """As before, once the socket has TCP_NODELAY."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()


c = get_config()  # type: ignore[name-defined]  # noqa: F821 - traitlets runs this file
c.ServerApp.kernel_websocket_connection_class = PromptConnection
