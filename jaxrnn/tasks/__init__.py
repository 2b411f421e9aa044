"""The field's sequence tasks, each a pure function of a key."""

from jaxrnn.tasks import adding, agreement, copying, temporal_order

__all__ = ["adding", "agreement", "copying", "temporal_order"]
