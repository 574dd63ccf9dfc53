"""Type aliases for hints; shapes stand in the docstrings."""

from collections import abc
from typing import Any, TypeAlias

# A tensor of the running Keras backend, or anything that converts to one.
Tensor: TypeAlias = Any
TensorsByName: TypeAlias = abc.Mapping[str, Tensor]
