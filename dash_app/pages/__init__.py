"""The pages: each lays out its cards and computes them from one snapshot of the lake."""
