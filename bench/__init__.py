"""Figures: each measured by a module that runs alone, all printed by `python -m bench.run`."""
