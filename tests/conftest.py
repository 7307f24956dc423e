"""Shared by all tests: few threads (two cores are plenty), and one seed."""

import pytest
import torch

torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
