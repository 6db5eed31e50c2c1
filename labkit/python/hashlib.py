"""SHA-256 by the module in C that comes with Python: hashlib loads OpenSSL, which is slow."""

import sys

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        if sys.version_info < (3, 12):
            from _sha256 import sha256
        else:
            from _sha2 import sha256
    except ImportError:  # a Python that was built without
        from hashlib import sha256

__all__ = ["sha256"]
