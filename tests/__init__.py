"""What Luthier promises, as tests."""
