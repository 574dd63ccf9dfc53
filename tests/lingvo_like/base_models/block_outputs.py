"""Functions at the outputs of encoder blocks, for tests of base models."""

from lingvo_like.base_models import base_model
from lingvo_like.layers import sites


def functions(by_block):
    """Site functions from a dict of a block's index to a function of x."""
    return sites.SiteFunctions(
        {
            f"{base_model.block_name(base_model.ENCODER, block)}/output": (
                lambda _, y, apply=apply: apply(y)
            )
            for block, apply in by_block.items()
        }
    )
