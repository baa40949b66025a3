"""What a fit learned, as something to compare."""


def fitted(model):
    """Everything that was learned, comparable bit for bit."""
    return {
        "centers": model.cluster_centers_.tobytes(),
        "labels": model.labels_.tobytes(),
        "inertia": model.inertia_,
        "n_iter": model.n_iter_,
    }
