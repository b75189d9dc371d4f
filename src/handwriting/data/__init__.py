"""What is learned: images with their labels, read from any source, checked and split.

Nothing here needs TensorFlow or MLflow, so that bad data is refused before they are imported.
"""

from handwriting.data.dataset import Dataset, Split, dataset_digest, load_dataset
from handwriting.data.ink import Ink, ink_of

__all__ = ["Dataset", "Ink", "Split", "dataset_digest", "ink_of", "load_dataset"]
