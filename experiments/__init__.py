"""What RNN, LSTM and GRU can and cannot do: claims and published tables, tested.

python -m experiments                 all that has no result yet: `make claims`
python -m experiments --quick         reduced: `make claims-quick`
python -m experiments adding          one of them
python -m experiments.page            docs/claims.md of the results
python -m experiments.page --check    whether page and results agree
"""
