"""Batches for training: data sets, samplers, and the loader that reads them.

Names and arguments are those of ``torch.utils.data``. A loader also takes arrays, streams
(:mod:`kernelmill.stream`) and iterables, and its position can be saved and restored exactly.
"""

from ..._lazy import lazy as _lazy
from .._torch_names import refusal as _refusal

_PLACES = {
    "_collate": "default_collate default_convert pad_collate",
    "_datasets": """
        ChainDataset ConcatDataset Dataset IterableDataset StackDataset StreamDataset Subset
        TensorDataset random_split
    """,
    "_loader": "DataLoader",
    "_samplers": """
        BatchSampler BucketBatchSampler RandomSampler Sampler SequentialSampler StratifiedSampler
        SubsetRandomSampler WeightedRandomSampler
    """,
}
_NAMES = {name: module for module, names in _PLACES.items() for name in names.split()}
__getattr__, __dir__, __all__ = _lazy(__name__, _NAMES, _refusal)
