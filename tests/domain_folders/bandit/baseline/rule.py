import numpy as np


def update(logits, actions, rewards):
    policy = np.exp(logits - logits.max())
    policy /= policy.sum()
    gain = np.zeros_like(logits)
    for action, reward in zip(actions, rewards - rewards.mean(), strict=True):
        gain += reward * ((np.arange(len(logits)) == action) - policy)
    return 4 * gain / len(actions)
