"""Proof: whether a tuned model got better."""
