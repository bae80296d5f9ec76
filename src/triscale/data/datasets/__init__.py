"""Where labelled images come from, each source behind the protocol of `data.dataset`."""

from triscale.data.datasets.opening import open_dataset as open_dataset
