"""Tests of the training program; they run in the engine's own environment."""
