"""When eager torch copies a feature map only to pad it."""

from triscale.arch.ops import Conv, MaxPool, Shape, same_padding
from triscale.arch.spec import Padding


def padded_copy(op: Conv | MaxPool, shape: Shape) -> int:
    """Values of the padded copy that `op` makes of an input of `shape`; 0 where its kernel pads by itself.

    Kernels pad both sides alike. TensorFlow's rule asks for more only at the bottom or right of strided layers; a max
    pool under that rule always copies, since its padding is minus infinity.
    """
    if op.padding is Padding.SYMMETRIC or (isinstance(op, Conv) and op.stride == 1):
        return 0
    top, bottom = same_padding(shape.height, kernel=op.kernel, stride=op.stride)
    left, right = same_padding(shape.width, kernel=op.kernel, stride=op.stride)
    if isinstance(op, Conv) and (top, left) == (bottom, right):
        return 0
    return shape.channels * (top + shape.height + bottom) * (left + shape.width + right)
