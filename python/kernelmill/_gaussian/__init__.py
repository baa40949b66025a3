"""Gaussians of the four covariance types: what mixtures and hidden Markov models share."""
