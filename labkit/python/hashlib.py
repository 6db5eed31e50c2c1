"""SHA-256 by the module in C that comes with Python: hashlib loads OpenSSL, which is slow."""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha2 import sha256
    except ImportError:
        try:
            from _sha256 import sha256  # before Python 3.12
        except ImportError:
            from hashlib import sha256  # a Python that was built without

__all__ = ["sha256"]
