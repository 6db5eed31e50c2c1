"""Images: names, digests, layers, archives; what `docker images`, `load` and `commit` work on."""
