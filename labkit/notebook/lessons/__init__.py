"""What a lesson's cells have at hand: ``from labkit.notebook.lessons.v02 import *`` and no more.

A cell shows the lesson. What measures, formats, waits or proves stands here, under a name that
reads as what it is for; `source()` shows it to a curious reader. `common.py` has what all
of them share. It has one effect: programs report errors in one language, that of the saved outputs.
"""
