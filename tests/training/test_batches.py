"""What an epoch sees is a function of seed and epoch, whatever the images are."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from made_images import COUNTED, channels, made_dataset, numbers

from handwriting.data import Dataset, Split
from handwriting.training.batches import evaluation_batches, input_shape, training_batches


def order_of(seed: int, epoch: int, batch_size: int = 25) -> list[list[int]]:
    number = tf.Variable(epoch, dtype=tf.int64)
    return [numbers(x) for x, _ in training_batches(COUNTED, 10, batch_size, seed, number)]


def test_an_epoch_holds_each_example_once_and_its_last_batch_is_the_rest() -> None:
    batches = order_of(seed=0, epoch=0)
    assert [len(batch) for batch in batches] == [25, 25, 25, 25, 7]
    assert sorted(itertools.chain(*batches)) == list(range(107))
    number = tf.Variable(0, dtype=tf.int64)
    assert training_batches(COUNTED, 10, 25, 0, number).cardinality().numpy() == 5


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert order_of(seed=0, epoch=3) == order_of(seed=0, epoch=3)
    orders = [order_of(seed, epoch, 107)[0] for seed in (0, 1, 2**32 - 1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in [*orders, list(range(107))]}) == 10


def test_a_data_set_gives_another_order_when_the_epochs_number_changes() -> None:
    number = tf.Variable(0, dtype=tf.int64)
    batches = training_batches(COUNTED, 10, 25, 0, number)
    for epoch in (0, 1, 0):
        number.assign(epoch)
        assert [numbers(x) for x, _ in batches] == order_of(seed=0, epoch=epoch)


def test_images_are_float32_from_0_to_1_with_a_channel_and_keep_their_labels() -> None:
    for batches in (
        training_batches(COUNTED, 10, 25, 0, tf.Variable(0, dtype=tf.int64)),
        evaluation_batches(COUNTED, 10),
    ):
        for x, y in batches.as_numpy_iterator():
            assert (x.dtype, x.shape) == (np.float32, (len(y), 28, 28, 1))
            assert (x.min(), x.max()) == (0, 1)
            np.testing.assert_array_equal(x[..., 0], COUNTED.x[numbers(x)].astype(np.float32) / 255)
            np.testing.assert_array_equal(y, np.eye(10, dtype=np.float32)[COUNTED.y[numbers(x)]])


def test_evaluation_sees_the_whole_split_in_its_order(dataset: Dataset) -> None:
    labels = np.concatenate([y for _, y in evaluation_batches(dataset.test, 10).as_numpy_iterator()])
    np.testing.assert_array_equal(labels.argmax(axis=1), dataset.test.y)


@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", [(28, 28), (9, 7, 1), (32, 32, 3)], ids=str)
def test_images_of_any_shape_and_type_come_as_keras_is_set(
    shape: tuple[int, ...], dtype: str, order: str
) -> None:
    """Of floats to the bit; of bytes, each over 255."""
    split = made_dataset(shape, 47, dtype, per_class=2).validation
    height, width, depth = shape if len(shape) == 3 else (*shape, 1)
    expected = split.x.reshape(-1, height, width, depth) / np.float32(255 if dtype == "uint8" else 1)
    with channels(order):
        given = input_shape((height, width, depth))
        assert given == ((height, width, depth) if order == "last" else (depth, height, width))
        ((x, y),) = evaluation_batches(split, 47).as_numpy_iterator()
    assert (x.dtype, x.shape, y.shape) == (np.float32, (47, *given), (47, 47))
    np.testing.assert_array_equal(x if order == "last" else np.moveaxis(x, 1, -1), expected)
    np.testing.assert_array_equal(y, np.eye(47)[split.y])


def test_a_split_may_hold_fewer_classes_than_there_are() -> None:
    few = Split(COUNTED.x[:3], COUNTED.y[:3])
    ((_, y),) = evaluation_batches(few, 12).as_numpy_iterator()
    np.testing.assert_array_equal(y, np.eye(12)[:3])
