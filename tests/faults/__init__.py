"""Proof by faults: whole programs are killed, starved and misled at every point, started again, and have to keep what they promised."""
