"""Talking to the worker: how it is started, asked and ended, and what it has to compute with."""
