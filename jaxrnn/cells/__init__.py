"""One file per cell: its equations and its paper."""
