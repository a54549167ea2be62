"""The history of the screen's tables."""
