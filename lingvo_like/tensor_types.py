"""Type aliases for hints; shapes stand in the docstrings."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# A tensor of the running Keras backend, or anything that converts to one.
Tensor: TypeAlias = Any
TensorsByName: TypeAlias = Mapping[str, Tensor]
