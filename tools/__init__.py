"""The hands: hardware, catalogue, datasets, runs, proof, serving."""
