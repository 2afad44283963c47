# ruff: noqa
# attack: garbles_the_channel
# tries: to write junk into every descriptor that it has inherited
# expect: candidate_error: Expected a frame

import os

_honest_loss = policy_loss


def policy_loss(logp, old_logp, ref_logp, advantages, mask, info):
    if info.step == 1:
        for descriptor in range(3, 256):
            try:
                os.write(descriptor, b"junk" * 64)
            except OSError:
                pass
    return _honest_loss(logp, old_logp, ref_logp, advantages, mask, info)
