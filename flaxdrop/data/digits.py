"""The handwritten digits that come with scikit-learn: `digits`."""

import numpy as np

from flaxdrop.data.dataset import Dataset, stratified_order

TEST_EXAMPLES = 897


def load() -> Dataset:
    """1,797 images of 8 x 8 pixels in 10 classes, 900 for training and 897 for the test.

    The split is fixed and stratified. Pixels are 0..16 in scikit-learn; here 0..240.
    Source: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI, 1998.
    """
    from sklearn.datasets import load_digits  # slow to import

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    order = stratified_order(labels)
    test, train = np.sort(order[:TEST_EXAMPLES]), np.sort(order[TEST_EXAMPLES:])
    return Dataset(
        name="digits",
        x_train=images[train],
        y_train=labels[train],
        x_test=images[test],
        y_test=labels[test],
        classes=tuple(str(name) for name in digits.target_names),
    )
