"""Runs: started, watched, cancelled, resumed; one folder each."""
