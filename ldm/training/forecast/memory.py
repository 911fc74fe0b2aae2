"""How many bytes a training step holds at once, counted on tensors without data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from ldm.training.recompute import blocks, recompute

# Weights, gradients, AdamW's two moments and the moving average, float32.
BYTES_A_PARAMETER = 20


class AsOnGpu(TorchFunctionMode):
    """Group norm in float32 under autocast, as CUDA computes it; the CPU's autocast does not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.group_norm:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))


def held_bytes(
    network: nn.Module, forward: Callable[[], Tensor], *, trained: int, checkpointing: bool
) -> int:
    """Bytes held at the turn from the way there to the way back.

    What the graph keeps, each tensor once, and 20 bytes a trained parameter; with checkpointing
    also what the largest block keeps while it is computed again. Left out are the workspaces of
    convolutions and the gradients of activations, so that a GPU's measured peak lies above it.

    Args:
        network: whose blocks are checkpointed, on a `FakeTensorMode`'s tensors.
        forward: the loss.
        trained: parameters of all networks that are trained.
    """
    held = BYTES_A_PARAMETER * trained
    if checkpointing:
        held += _largest_block(network, forward)
        recompute(network)
    return held + _kept_bytes(forward)


def _largest_block(network: nn.Module, forward: Callable[[], Tensor]) -> int:
    kept: list[dict[int, int]] = [{}]

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[-1][storage._cdata] = storage.nbytes()
        return tensor

    hooks = []
    for block in blocks(network):
        hooks += [
            block.register_forward_pre_hook(lambda *_: kept.append({})),
            block.register_forward_hook(lambda *_: kept.append({})),
        ]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
    del loss
    for hook in hooks:
        hook.remove()
    return max(sum(sizes.values()) for sizes in kept[1::2])


def _kept_bytes(forward: Callable[[], Tensor]) -> int:
    kept: dict[int, tuple[Tensor, int]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[storage._cdata] = (tensor, storage.nbytes())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()
        held = sum(size for _, size in kept.values())
    del loss
    return held
