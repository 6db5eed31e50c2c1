"""What a cell shows without a script: source, comparisons, recordings, translations.

A start is recorded from outside (`start_recorder.py`). The container stands still before each call.
What the call changed is the difference between two looks at /proc, not a model of the call. Only
the host name has no file there for another process: it is asked for inside.
"""
