"""Functions of SciPy that CuPy has."""
