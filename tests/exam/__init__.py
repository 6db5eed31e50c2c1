"""The exam: the same command lines put to real Docker and to labkit, and their answers compared.

`cases/` has the lines, a file for each family; `cases.py` says how they are written. `dockerd.py`
starts a real dockerd that leaves the machine as it was. Its answers are kept in
`answers/docker.json`, so labkit is compared where there is no dockerd. `answers/labkit.json` says
what came of each case, and `reasons.toml` why an answer differs. docs/docker.md shows all that.
"""
