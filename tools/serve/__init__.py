"""Serving: which files answer a question, and who keeps them loaded."""
