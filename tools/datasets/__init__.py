"""Datasets: where they lie, what they hold, how they are split and rendered."""
