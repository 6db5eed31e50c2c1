"""Linux itself: one door to the kernel, the calls by subject, a reader for each file of /proc.

A call is a value before it is made (`call.py`), goes through one door (`door.py`), leaves one line
(`trace.py`), and a refusal says why (`refusal.py`).
"""
