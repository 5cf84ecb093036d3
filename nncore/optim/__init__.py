"""Builders of updates: optimizers, schedules, regularizers. Graph nodes like any other; no C calls."""
