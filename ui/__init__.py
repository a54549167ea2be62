"""The faces: the web chat, its pages, the terminal."""
