"""As much of Python's own modules as a start needs, made in no time.

Python's are better, and everything that does not start a container uses them. But to import those
that stand in here takes longer than to start a container: enum, re, typing and OpenSSL come along.
Each of these modules is called as the one that it stands in for, and does as it does, as far as it
goes; `tests/test_light.py` and `tests/test_blocks.py` compare the two. `bundle.py` stands in for
the files of compiled code.

Modules on that way take the names for annotations (Mapping, Sequence, ...) from `_collections_abc`,
which every Python has loaded at its start. collections.abc is that module too, but to import it by
this name is to import all of `collections`.
"""
