"""Random calls, most of them wrong: what the contract says, or its error."""
