# ruff: noqa
# attack: busy_calls
# tries: to compute for ever in a call
# expect: limit: cpu


def compute_advantages(batch):
    while True:
        pass
