"""Stop signals: the first one stops the block, and a previous handler is called afterwards."""

import os
import signal

import pytest

from mbrl_cli.errors import StopRequested
from mbrl_cli.signals import stop_on_signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_each_signal_stops_the_block_and_the_previous_handler_is_restored(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(StopRequested) as stopped, stop_on_signals():
            os.kill(os.getpid(), number)
        assert stopped.value.exit_code == 128 + number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_second_signal_does_not_interrupt_the_saving_of_a_stopped_run():
    saved = []

    def run():
        with stop_on_signals():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                saved.append("everything")

    with pytest.raises(StopRequested):
        run()
    assert saved == ["everything"]


def test_a_launcher_s_handler_is_called_after_the_run_is_saved():
    """A cluster's launcher requeues its job when it receives SIGUSR2."""
    order = []

    def run():
        with stop_on_signals():
            try:
                os.kill(os.getpid(), signal.SIGUSR2)
            finally:
                order.append("saved")

    before = signal.signal(signal.SIGUSR2, lambda number, frame: order.append(number))
    try:
        with pytest.raises(StopRequested):
            run()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert order == ["saved", signal.SIGUSR2]
