"""Between the trainer and a candidate: what goes over, in which form, and what is refused of what comes back.

    checking.py         the arrays that go over, and the checks of what comes back
    metrics.py          numbers that the candidate tells of itself
    remote.py           the algorithm of another process, over the channel: what experiments use
    in_process.py       the same out of a file in this process, for reference programs and benchmarks
    candidate_side.py   what surrounds the candidate's two functions, in both: arrays -> tensors -> loss -> gradient
    batch.py            what the candidate sees

A trainer calls `begin` before each run of training, then `advantages` once a step and `loss` once a minibatch.
It calls nothing while it evaluates. remote.py and in_process.py give the same numbers, bit for bit.
"""
