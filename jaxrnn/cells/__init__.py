"""A room for each cell: its equations and its paper."""
