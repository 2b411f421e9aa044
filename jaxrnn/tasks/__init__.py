"""The field's sequence tasks, each a pure function of a key."""

from jaxrnn.tasks import agreement

__all__ = ["agreement"]
