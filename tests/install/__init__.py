"""The set-up, on empty folders and recorded pip output."""
