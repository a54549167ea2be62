"""The training program: one spec in, a run folder out, in an environment of its own."""
