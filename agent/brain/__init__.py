"""Which model thinks, and the command assistant that serves when there is no key."""
