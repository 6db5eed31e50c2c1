"""make faults: every system call of caller, engine and child fails once, and each is killed at it.

`kinds.py` is the caller: it starts containers in every way. `tracer.py` watches one of the three
with ptrace(2), as strace(1) does, and lets one of its calls fail. strace itself cannot tell the
engine from the child that it has just cloned. `injection.py` says which calls fail how, and looks
whether all is as before. `__main__.py` makes all of them and writes docs/reliability.md.
"""
