"""The averaged generator."""

import pytest
import torch

from srgan.moving_average import MovingAverage


def test_moving_average_follows_the_network_and_its_buffers():
    network = torch.nn.BatchNorm2d(1)
    average = MovingAverage(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(2.0)
        network.running_var.fill_(11.0)
        network.num_batches_tracked.fill_(5)
    average.update(network, step=1_000_000)
    followed = average.network
    assert followed.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 2)
    assert followed.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 11)
    assert followed.num_batches_tracked.item() == 5
    assert not followed.training
    assert network.weight.item() == 2.0


def test_moving_average_of_no_decay_is_the_network():
    network = torch.nn.Linear(2, 2)
    average = MovingAverage(network, decay=0)
    torch.nn.init.constant_(network.weight, 3.0)
    average.update(network, step=0)
    assert torch.equal(average.network.weight, network.weight)
