"""What every estimator shares: parameters, validation, device, random numbers, progress, files."""
