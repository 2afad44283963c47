# ruff: noqa
# attack: infinite_advantages
# tries: infinite advantages for what was right
# expect: candidate_error: Expected the advantages of compute_advantages to be finite


def compute_advantages(batch):
    return torch.where(batch.rewards > -1, float("inf"), -1.0)
