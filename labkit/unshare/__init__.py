"""labkit unshare: unshare(1) by our own system calls. It stands on `linux`, to start at once."""
