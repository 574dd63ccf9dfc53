# Stands in for Keras where its own types are missing or wrong; its layers keep
# theirs.
from typing import Any

def __getattr__(name: str) -> Any: ...
