"""Write the model files that every later version must be able to load.

    python tools/make_golden.py [--force]

For each entry of `GOLDEN` this stores, under tests/data/golden/<version>/, the fitted model as
<name>.safetensors and, in <name>.npz, the input ``X`` and the output of each named method. Run it
once per release, commit the result, and never touch older folders: a file that is already there
is left alone unless --force is given.
"""

import argparse
import importlib
import importlib.util
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent


def blobs():
    """Three clusters of float32 points on a grid of 1/8, so that small sums are exact."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60, 4)) + 8 * np.arange(3).repeat(20)[:, None]
    return (np.round(points * 8) / 8).astype(np.float32)


def dummy():
    path = ROOT / "tests" / "_estimator" / "golden_dummy.py"
    spec = importlib.util.spec_from_file_location("golden_dummy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    X = blobs()
    cls = module.GoldenDummy
    inner = cls(alpha=2.0, mode="inner", random_state=5).fit(X[:, :2])
    return cls(random_state=np.random.RandomState(1), dtype=np.float32, inner=inner).fit(X), X


def estimator(module, name, **params):
    """A builder for one public estimator fitted on the blobs, or None where it does not exist."""

    def build():
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            return None
        X = blobs()
        return cls(**params).fit(X), X

    return build


def chain():
    """A chain of order 2 on the blobs' columns rounded to symbols."""
    from kernelmill.markov import MarkovChain

    symbols = blobs().ravel().astype(np.int64) % 4
    return MarkovChain(2, random_state=0).fit(symbols), symbols


# name of the file -> (builder of (model, X), methods whose output is stored)
GOLDEN = {
    "dummy": (dummy, ["predict"]),
    "kmeans": (
        estimator("kernelmill.cluster", "KMeans", n_clusters=3, random_state=0),
        ["predict", "transform"],
    ),
    "gaussian_mixture": (
        estimator("kernelmill.mixture", "GaussianMixture", n_components=3, random_state=0),
        ["predict", "predict_proba", "score_samples"],
    ),
    "bayesian_gaussian_mixture": (
        estimator("kernelmill.mixture", "BayesianGaussianMixture", n_components=3, random_state=0),
        ["predict", "predict_proba"],
    ),
    "gaussian_hmm": (
        estimator("kernelmill.hmm", "GaussianHMM", n_components=3, random_state=0),
        ["predict", "predict_proba", "score"],
    ),
    "markov_chain": (chain, ["predict", "predict_proba", "score"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    force = parser.parse_args().force
    from kernelmill import __version__
    from kernelmill._estimator.persistence import save

    folder = ROOT / "tests" / "data" / "golden" / __version__
    folder.mkdir(parents=True, exist_ok=True)
    for name, (build, methods) in GOLDEN.items():
        target = folder / f"{name}.safetensors"
        if target.exists() and not force:
            continue
        built = build()
        if built is None:
            sys.stderr.write(f"{name}: no such estimator yet, left out\n")
            continue
        model, X = built
        save(model, target)
        outputs = {method: getattr(model, method)(X) for method in methods}
        np.savez_compressed(folder / f"{name}.npz", X=X, **outputs)
        sys.stdout.write(f"{target.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
