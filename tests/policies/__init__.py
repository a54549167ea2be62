"""Tests of the room that decides and records."""
