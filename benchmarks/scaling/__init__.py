"""Scaling of a training over several devices: a model of its cost, and measurements."""
