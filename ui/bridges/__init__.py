"""Other channels of the same conversation."""
