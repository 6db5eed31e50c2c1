"""Who runs a container: a small process of one thread, and the caller's side of it.

The engine's own process imports `process.py`, `player.py`, `layout.py`, `descriptors.py` and
`linux/{children,door,proc}.py`, and nothing else of ours: its memory is copied for each container.
"""
