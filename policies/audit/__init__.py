"""The tamper-evident record of every call."""
