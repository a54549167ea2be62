"""Set-up: the environments, the bundled model and what the tests need. Standard library only, run by the system's Python."""
