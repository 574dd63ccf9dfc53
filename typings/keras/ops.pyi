# Keras's operations carry no types, and those that pyright infers are wrong:
# most "may return None".
from typing import Any

def __getattr__(name: str) -> Any: ...
