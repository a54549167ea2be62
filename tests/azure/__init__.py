"""Azure without Azure: stand-ins over TLS, driven by the unmodified clients."""
