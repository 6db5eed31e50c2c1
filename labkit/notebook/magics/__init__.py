"""%%child and %docker.

The body of a ``%%child`` cell runs in a new process with one thread, started by the engine. So its
system calls never touch the notebook's process, which has many threads. ``%docker`` reads a command
line as docker does (`labkit/docker/order.py`) and runs the container that it means.
"""
