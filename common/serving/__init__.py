"""Saved models in other formats and over HTTP."""
