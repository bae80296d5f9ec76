"""The controller: a recurrent network that makes one decision after another (NASNet and MnasNet papers).

Shapes: b networks, t decisions in the order of the space, o values of a decision (of the one that has most).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from triscale.search.baseline.space import Architecture, SearchSpace, Value, flat, grouped

UNDECIDED: Final = -1
"""Where nothing depends on a decision."""


class Policy(nn.Module):
    """Probabilities of every decision's values, given the decisions before it.

    It begins as random search: all values are equally likely. Weights are float64 and drawn from `seed`; torch's own
    randomness is neither used nor changed.
    """

    def __init__(self, space: SearchSpace, *, hidden: int, seed: int) -> None:
        super().__init__()
        counts = [len(position.values) for position in space.positions]
        self.most = max(counts)
        # Every value of every decision has an embedding of its own, as have "undecided" and the beginning.
        with torch.device("meta"):
            self.embedding = nn.Embedding(1 + len(counts) * (self.most + 1), hidden, dtype=torch.float64)
            self.lstm = nn.LSTM(hidden, hidden, batch_first=True, dtype=torch.float64)
        self.to_empty(device="cpu")
        self.weight_toh = nn.Parameter(torch.zeros(len(counts), self.most, hidden, dtype=torch.float64))
        self.bias_to = nn.Parameter(torch.zeros(len(counts), self.most, dtype=torch.float64))
        self.register_buffer("exists_to", torch.arange(self.most) < torch.tensor(counts)[:, None])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in (*self.embedding.parameters(), *self.lstm.parameters()):
                parameter.uniform_(-(hidden**-0.5), hidden**-0.5, generator=generator)

    def forward(self, choices_bt: Tensor) -> Tensor:
        """Log-probabilities (b, t, o) of all values, where `choices_bt` are those that were chosen."""
        inputs_bt = torch.zeros_like(choices_bt)
        inputs_bt[:, 1:] = self._tokens(choices_bt[:, :-1], 0)
        states_bth, _ = self.lstm(self.embedding(inputs_bt))
        logits_bto = torch.einsum("bth,toh->bto", states_bth, self.weight_toh) + self.bias_to
        return self._log_probabilities(logits_bto, self.get_buffer("exists_to"))

    @torch.no_grad()
    def sample(self, space: SearchSpace, noise_bto: NDArray[np.float64]) -> list[Architecture]:
        """Networks, drawn with Gumbel noise, one from each row of it."""
        decided: list[list[Value | None]] = [[] for _ in noise_bto]
        noise = torch.from_numpy(noise_bto)
        tokens_b1 = torch.zeros(len(decided), 1, dtype=torch.int64)
        state: tuple[Tensor, Tensor] | None = None
        for place, position in enumerate(space.positions):
            states_b1h, state = self.lstm(self.embedding(tokens_b1), state)
            logits_bo = states_b1h[:, 0] @ self.weight_toh[place].T + self.bias_to[place]
            scores_bo = self._log_probabilities(logits_bo, self.get_buffer("exists_to")[place]) + noise[:, place]
            chosen = scores_bo.argmax(dim=-1).tolist()
            for row, choice in zip(decided, chosen, strict=True):
                row.append(position.values[choice] if space.matters(row) else None)
            kept = [UNDECIDED if row[-1] is None else choice for row, choice in zip(decided, chosen, strict=True)]
            tokens_b1 = self._tokens(torch.tensor(kept)[:, None], place)
        return [grouped(row) for row in decided]

    def _tokens(self, choices_bt: Tensor, first: int) -> Tensor:
        """What the recurrent network reads of decisions from number `first` on."""
        places = torch.arange(first, first + choices_bt.shape[1])
        return 1 + places * (self.most + 1) + torch.where(choices_bt == UNDECIDED, self.most, choices_bt)

    @staticmethod
    def _log_probabilities(logits: Tensor, exists: Tensor) -> Tensor:
        # Finite, since infinities would make the entropy's gradient a NaN.
        return torch.log_softmax(logits.masked_fill(~exists, -1e9), dim=-1)


def choices_of(space: SearchSpace, architectures: Sequence[Architecture]) -> Tensor:
    """Places of the chosen values among those of each decision, (b, t); `UNDECIDED` where nothing depends on it."""
    rows = [
        [
            UNDECIDED if value is None else position.values.index(value)
            for value, position in zip(flat(architecture), space.positions, strict=True)
        ]
        for architecture in architectures
    ]
    return torch.tensor(rows)


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside torch's operators, for as long as this lasts.

    Ops so small gain nothing from more, lose much where all cores are busy with trainings, and would add up in
    another order.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
