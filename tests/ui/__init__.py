"""Tests of the faces that need no browser."""
