"""A network as the bytes that the engine maps and runs: header, steps, weights in the kernels' order, description.

All numbers are little-endian. The layout is spelled out in `native/program.h`; both sides change together with VERSION.
"""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from triscale.arch.codec import encode, spec_to_json
from triscale.arch.spec import Activation, NetworkSpec, Resolution
from triscale.deploy.engine.arena import BLOCK, Arena, place_maps
from triscale.deploy.engine.rounding import RoundedLayer, stored_inputs
from triscale.deploy.engine.steps import ACTIVATIONS, Flag, Kind, Map, Step, steps_of
from triscale.models.card import ModelCard
from triscale.models.files import Model
from triscale.models.fold import fold_batch_norms

MAGIC: Final = b"TRIPACK\n"
VERSION: Final = 3
HEADER = struct.Struct("<8s6I3QI68x")
STEP = struct.Struct("<16I8Q")
ALIGNMENT: Final = 64

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int8] | npt.NDArray[np.int16]
Weights = Mapping[str, Floats]


def _blocks(channels: int) -> int:
    return -(-channels // BLOCK)


def _outputs_inside(weights: Floats) -> Floats:
    """(outputs, inner) as [outputs / 16][inner][16], the last block padded with zeros."""
    outputs, inner = weights.shape
    padded = np.zeros((_blocks(outputs) * BLOCK, inner), np.float32)
    padded[:outputs] = weights
    return padded.reshape(-1, BLOCK, inner).transpose(0, 2, 1)


def _padded(values: Floats) -> Floats:
    padded = np.zeros(_blocks(len(values)) * BLOCK, np.float32)
    padded[: len(values)] = values
    return padded


def _by_channel_blocks(weights: Floats) -> Floats:
    """(outputs, inputs, k, k) as (outputs, inner): for each 16 inputs all taps, for each tap its inputs."""
    outputs, inputs = weights.shape[:2]
    taps = weights.reshape(outputs, inputs, -1).transpose(0, 2, 1)
    parts = [taps[:, :, begin : begin + BLOCK].reshape(outputs, -1) for begin in range(0, inputs, BLOCK)]
    return np.concatenate(parts, axis=1)


def _by_taps(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(outputs, inputs, k, k) as (outputs, inner): for each tap all inputs."""
    return weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)


def _depthwise(weights: Floats) -> Floats:
    """(channels, 1, k, k) as [channels / 16][k][k][16]."""
    return _outputs_inside(weights.reshape(len(weights), -1))


def _terms_inside(weights: Integers) -> Integers:
    """(outputs, inputs) as [outputs / 16][inputs / n][16][n], n filling 32 bits, padded with zeros."""
    outputs, inputs = weights.shape
    together = 4 // weights.dtype.itemsize
    padded = np.zeros((_blocks(outputs) * BLOCK, -(-inputs // together) * together), weights.dtype)
    padded[:outputs, :inputs] = weights
    return padded.reshape(-1, BLOCK, padded.shape[1] // together, together).transpose(0, 2, 1, 3)


class _Blob:
    """Arrays one behind another, each aligned."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, array: Floats | Integers) -> int:
        """Bytes from the beginning to where `array` lies."""
        begin, data = self.size, np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self.parts += [data, bytes(-len(data) % ALIGNMENT)]
        self.size += len(data) + -len(data) % ALIGNMENT
        return begin


def _add_rounded(step: Step, layer: RoundedLayer, blob: _Blob) -> tuple[int, int]:
    """Offsets of integer weights, and of the numbers that give them their size."""
    scale = layer.scale.astype(np.float64)
    totals = layer.weights.sum(1, dtype=np.int64) * scale
    numbers = [(scale * (layer.unit or 1)).astype(np.float32), totals.astype(np.float32), layer.balance]
    weights = layer.weights
    if step.kind is Kind.STEM:
        assert layer.unit is not None
        weights = _by_taps(weights.reshape(len(weights), -1, step.kernel, step.kernel))
        numbers[2] = np.full(1, 1 / layer.unit, np.float32)
    return blob.add(_terms_inside(weights)), blob.add(np.concatenate([_padded(each) for each in numbers]))


def _add_storing(step: Step, weights: Floats, bias: Floats, reader: RoundedLayer, blob: _Blob) -> tuple[int, int]:
    """Offsets of depthwise weights whose outputs are what `reader` takes as integers, and of bias and ceilings."""
    assert reader.unit is not None
    factors = (reader.balance.astype(np.float64) / reader.unit).astype(np.float32)
    most = 6 * factors if step.after is Activation.RELU6 else np.full_like(factors, np.inf)
    ceilings = np.minimum(most, np.float32(reader.levels))
    return (
        blob.add(_depthwise(weights * factors[:, None, None, None])),
        blob.add(np.concatenate([_padded(bias * factors), _padded(ceilings)])),
    )


def _step_weights(
    step: Step,
    state: Weights,
    layer: RoundedLayer | None,
    reader: RoundedLayer | None,
    card: ModelCard,
    blob: _Blob,
) -> tuple[int, int, int, int, int]:
    """Offsets of weights, bias, second weights, second bias, and of what integers need."""
    first = second = (0, 0)
    rounding = 0
    if layer is not None:
        weights_at, rounding = _add_rounded(step, layer, blob)
        first = weights_at, blob.add(_padded(state[f"{step.weights}.bias"]))
    elif step.weights:
        weights, bias = state[f"{step.weights}.weight"], state[f"{step.weights}.bias"]
        if weights.ndim == 2:
            weights = weights[:, :, None, None]
        inner = _by_taps(weights) if step.kind is Kind.STEM else _by_channel_blocks(weights)
        first = blob.add(_outputs_inside(inner)), blob.add(_padded(bias))
    if step.weights2:
        weights, bias = state[f"{step.weights2}.weight"], state[f"{step.weights2}.bias"]
        if reader is not None:
            second = _add_storing(step, weights, bias, reader, blob)
        else:
            dense = step.kind is Kind.EXCITE
            second = (
                blob.add(_outputs_inside(_by_taps(weights)) if dense else _depthwise(weights)),
                blob.add(_padded(bias)),
            )
    if step.kind in (Kind.IMAGE, Kind.STEM):
        mean, std = (np.asarray(values, np.float64) for values in (card.preprocessing.mean, card.preprocessing.std))
        scale, shift = 1 / (255 * std), -mean / std
        second = blob.add(_padded(scale.astype(np.float32))), blob.add(_padded(shift.astype(np.float32)))
    return *first, *second, rounding


def _integer_flags(step: Step, layer: RoundedLayer | None, reader: RoundedLayer | None) -> Flag:
    flags = Flag(0)
    if layer is not None:
        flags |= Flag.INT8 if layer.weights.dtype == np.int8 else Flag.INT16
        flags |= Flag.STORED if layer.unit is not None and step.kind is Kind.CONV else Flag(0)
    if reader is not None:
        flags |= Flag.STORES_8 if reader.weights.dtype == np.int8 else Flag.STORES_16
    return flags


def _pack_step(
    step: Step,
    arena: Arena,
    layer: RoundedLayer | None,
    reader: RoundedLayer | None,
    offsets: tuple[int, int, int, int, int],
) -> bytes:
    def place(of: Map | None) -> int:
        return 0 if of is None else arena.offsets[of.number]

    return STEP.pack(
        step.kind,
        ACTIVATIONS[step.activation],
        ACTIVATIONS[step.after],
        step.kernel,
        step.stride,
        *step.pads,
        step.in_shape.channels,
        step.out_shape.channels,
        step.squeezed_channels,
        step.in_shape.height,
        step.in_shape.width,
        step.out_shape.height,
        step.out_shape.width,
        step.flags | _integer_flags(step, layer, reader),
        0 if layer is None else layer.levels,
        place(step.input),
        place(step.output),
        place(step.residual),
        *offsets,
    )


def _description(
    spec: NetworkSpec, card: ModelCard, steps: Sequence[Step], rounded: Mapping[str, RoundedLayer]
) -> bytes:
    content: dict[str, Any] = {
        "spec": json.loads(spec_to_json(spec, indent=None)),
        "preprocessing": encode(card.preprocessing),
        "class_names": list(card.class_names),
        "provenance": dict(card.provenance),
        "steps": [step.name for step in steps],
        "bits": {name: 8 * layer.weights.dtype.itemsize for name, layer in rounded.items()},
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


@torch.no_grad()
def pack(
    model: Model,
    *,
    resolution: Resolution | None = None,
    features: bool = False,
    rounded: Mapping[str, RoundedLayer] = MappingProxyType({}),
) -> npt.NDArray[np.uint8]:
    """`model` as packed bytes, for images of one `resolution`: that of its preprocessing by default.

    With `features` it ends with the pooled features. The layers `rounded` by `round_layers` work with integers.
    Raises `UnsupportedNetwork` for what the engine has not, and ValueError where mean and std do not fit the image's
    channels.
    """
    network = fold_batch_norms(model.network)
    spec, card = network.spec, model.card
    if len(card.preprocessing.mean) != spec.input_channels:
        raise ValueError(f"{len(card.preprocessing.mean)} means for images of {spec.input_channels} channels")
    steps = steps_of(spec, resolution or card.preprocessing.resolution, features=features)
    arena = place_maps(steps)
    state = {name: tensor.float().cpu().numpy() for name, tensor in network.state_dict().items()}
    blob = _Blob()
    readers = {before.name: rounded.get(step.weights) for before, step in stored_inputs(steps)}
    packed_steps = b"".join(
        _pack_step(step, arena, layer, reader, _step_weights(step, state, layer, reader, card, blob))
        for step in steps
        for layer, reader in [(rounded.get(step.weights), readers.get(step.name))]
    )
    description = _description(spec, card, steps, rounded)
    body = b"".join((packed_steps, *blob.parts, description))
    header = HEADER.pack(
        MAGIC,
        VERSION,
        len(steps),
        *_image_shape(steps),
        steps[-1].out_shape.channels,
        arena.floats,
        blob.size,
        len(description),
        zlib.crc32(body),
    )
    return aligned_bytes(header + body)


def _image_shape(steps: Sequence[Step]) -> tuple[int, int, int]:
    shape = steps[0].in_shape
    return shape.channels, shape.height, shape.width


def aligned_bytes(data: bytes) -> npt.NDArray[np.uint8]:
    """`data` in memory that begins at a multiple of 64 bytes, as vectors want it."""
    room = np.empty(len(data) + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    aligned = room[begin : begin + len(data)]
    aligned[:] = np.frombuffer(data, np.uint8)
    return aligned
