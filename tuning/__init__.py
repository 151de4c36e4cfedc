"""The searches: one short file an app, which names the space; each run as `python -m tuning.NAME`."""
