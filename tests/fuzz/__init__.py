"""Fuzzers: everything that reads what others wrote, fed with what nobody would write.

A *target* (``target.Target``) is one reader with its seeds, which are real files where there are such, and a function
that takes bytes and fails unless the reader keeps its promise: only the errors that it documents, no hang, and where
there is an oracle (any chunking equals the whole, what is read back equals what was written) agreement with it.

CI draws a fixed number of mutations for each target. Longer::

    python -m tests.fuzz                          the names of all targets
    python -m tests.fuzz manifest --seconds 3600  guided by coverage where atheris is installed (pip install .[fuzz])
    VYA_FUZZ_SECONDS=60 pytest tests/fuzz         other mutations every time, shared among all targets

An input that breaks a promise is put into ``crashes/TARGET/`` and is tried by every run from then on.
"""
