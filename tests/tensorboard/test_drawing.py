"""How often pictures are drawn, and by what."""

import threading

import pytest
from processes import LIMIT

from coda_keras.tensorboard.drawing import Drawing, Pace

pytestmark = pytest.mark.tensorflow


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def board(folder, clock, cost=1.0):
    """A board that draws in `cost` seconds, half of them in its thread."""
    from coda_keras.tensorboard.summaries import EpochBoard

    class Drawn(EpochBoard):
        def __init__(self):
            super().__init__(folder, Pace(0.05, clock))
            self.epochs, self.go = [], threading.Event()

        def on_epoch_end(self, epoch, logs=None):
            self.draw_if_due(epoch)

        def draw(self, epoch):
            self.epochs.append(epoch)
            clock.now += cost / 2
            self.in_thread(self.write)

        def write(self):
            assert self.go.wait(LIMIT)
            clock.now += cost / 2

        def train(self, epochs, seconds, stop=None):
            self.params = {"epochs": epochs}
            for epoch in range(epochs if stop is None else stop):
                clock.now += seconds
                self.on_epoch_end(epoch)
                # The thread is done when the next epoch is.
                self.go.set()
                self._drawing.join()
                self.go.clear()
            self.go.set()
            self.on_train_end()
            return self.epochs

    return Drawn()


def test_pictures_of_long_epochs_are_drawn_after_every_one(tmp_path):
    assert board(tmp_path, Clock()).train(4, seconds=60) == [0, 1, 2, 3]


def test_pictures_take_a_twentieth_of_the_time_at_most(tmp_path):
    clock = Clock()
    # After 3 s the first; a second one costs 2 s in all, which is a twentieth of 40 s.
    assert board(tmp_path, clock).train(30, seconds=3) == [0, 12, 19, 25, 29]


def test_the_first_and_the_last_epoch_are_always_drawn(tmp_path):
    assert board(tmp_path, Clock(), cost=100).train(9, seconds=1) == [0, 8]


def test_a_training_that_ends_early_has_its_last_epoch_drawn(tmp_path):
    assert board(tmp_path, Clock(), cost=100).train(9, seconds=1, stop=5) == [0, 4]


def test_one_after_the_other_in_a_thread():
    drawing, seen, go = Drawing(), [], threading.Event()
    drawing.begin(go.wait, 60)
    drawing.begin(lambda: seen.append(threading.current_thread()))
    assert drawing.is_busy and not seen
    go.set()
    drawing.join()
    assert not drawing.is_busy and seen != [threading.current_thread()]
    # And once more.
    drawing.begin(seen.append, "again")
    drawing.join()
    assert seen[-1] == "again"


def test_errors_reach_who_draws():
    def fail():
        raise OSError("The disk is full.")

    drawing = Drawing()
    drawing.begin(fail)
    with pytest.raises(OSError, match="full"):
        drawing.join()
    drawing.join()
    drawing.begin(fail)
    with pytest.raises(OSError, match="full"):
        while True:
            drawing.begin(lambda: None)
