"""The figures, without measuring any."""
