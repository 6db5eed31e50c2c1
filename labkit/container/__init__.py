"""A container as a value, its checks, and the ordered steps that build it: `contain.py`."""
