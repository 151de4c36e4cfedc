"""The searches: one short file per app that defines the search space, run as `python -m tuning.NAME`."""
