"""Search spaces, one file per app. Run one as `python -m tuning.NAME`."""
