"""jaxrnn beside its peers: the same work, interleaved in one process."""
