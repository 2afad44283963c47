"""The channel between trainer and candidate: what goes through it, and that nothing on the other end can harm it."""

import contextlib
import os
import select
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from asi_evolve.sandbox import channel, production, programs
from asi_evolve.sandbox.channel import (
    ANSWER,
    HEADER,
    MAGIC,
    READY,
    Candidate,
    CandidateFailed,
    CandidateFault,
    CandidateGarbled,
    CandidateGone,
    CandidateHung,
    Frame,
    Malformed,
    unpack,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

ONES = {"x": np.ones(3)}
ECHO = "def echo(**arrays): return arrays\n"


@pytest.fixture
def connect(tmp_path, monkeypatch):
    """Start a candidate as its sandbox would, and return the trainer's side of it."""
    children = []
    ends = []

    def start(program, *, stub=channel.__file__, timeout=30.0, **options):
        (tmp_path / "candidate").mkdir(exist_ok=True)
        (tmp_path / "candidate" / "rule.py").write_text(program)
        (tmp_path / "params.json").write_text('{"entry": "rule.py"}')
        (trainer_reads, candidate_writes), (candidate_reads, trainer_writes) = os.pipe(), os.pipe()
        environment = {"CHANNEL_READ": str(candidate_reads), "CHANNEL_WRITE": str(candidate_writes)}
        children.append(
            subprocess.Popen(
                [sys.executable, stub, str(tmp_path)],
                pass_fds=(candidate_reads, candidate_writes),
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        )
        os.close(candidate_reads)
        os.close(candidate_writes)
        ends.extend((trainer_reads, trainer_writes))
        monkeypatch.setenv("CHANNEL_READ", str(trainer_reads))
        monkeypatch.setenv("CHANNEL_WRITE", str(trainer_writes))
        return Candidate(timeout=timeout, **options)

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield start
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, 9)
        child.wait()
    for end in ends:
        os.close(end)


def raw(body):
    """A candidate that does without our library when it is called, and has its two ends as `r` and `w`."""
    indented = "\n    ".join(body.strip().splitlines())
    return (
        "import os, struct, sys, time\nr, w = int(os.environ['CHANNEL_READ']), int(os.environ['CHANNEL_WRITE'])\n"
        f"def header(magic=b'AEC1', kind=3, arrays=0, label=0, number=1, rest=0):\n"
        f"    return struct.pack('<4sBBHIQ', magic, kind, arrays, label, number, rest)\n"
        f"def f(**_):\n    {indented}\n"
    )


@given(
    arrays_of.arrays(
        dtype=st.sampled_from(channel.TYPES), shape=arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0)
    )
)
def test_every_array_comes_out_as_it_went_in(array):
    packed = Frame(ANSWER, 7, "f", {"a": array, "b": array.T}).pack()
    frame = unpack(packed[: HEADER.size], packed[HEADER.size :])
    assert (frame.kind, frame.number, frame.label, list(frame.arrays)) == (ANSWER, 7, "f", ["a", "b"])
    for name, wanted in (("a", array), ("b", array.T)):
        came = frame.arrays[name]
        assert (came.dtype, came.shape) == (wanted.dtype, wanted.shape)
        assert came.tobytes() == wanted.tobytes()
        assert came.flags.writeable
        assert came.flags.owndata


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 70), st.integers(0, 300))
def test_no_bytes_make_anything_but_a_frame_or_a_refusal(rest, kind, count, label):
    header = HEADER.pack(MAGIC, kind, count, label, 1, len(rest))
    with contextlib.suppress(Malformed):
        frame = unpack(header, rest)
        again = frame.pack()
        assert unpack(again[: HEADER.size], again[HEADER.size :]).arrays.keys() == frame.arrays.keys()


@given(st.data())
def test_a_frame_that_was_damaged_is_read_within_its_bounds(data):
    packed = bytearray(Frame(ANSWER, 1, "", {"a": np.arange(6).reshape(2, 3), "b": np.ones(2, bool)}).pack())
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(4, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        frame = unpack(bytes(packed[: HEADER.size]), bytes(packed[HEADER.size :]))
        assert sum(array.nbytes for array in frame.arrays.values()) <= len(packed)


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.array(["text"]), np.ones(2, complex), np.ones(2, "int8"), np.ones([1] * 9), None, {}],
    ids=["object", "text", "complex", "int8", "9 dimensions", "nothing", "dictionary"],
)
def test_what_is_no_array_of_numbers_cannot_be_sent(value):
    with pytest.raises(Malformed, match="Expected"):
        Frame(ANSWER, 1, "", {"a": value}).pack()


def test_bounds_hold_for_the_sender_too():
    for frame in (
        Frame(ANSWER, 1, "", {"": np.ones(1)}),
        Frame(ANSWER, 1, "", {"n" * 65: np.ones(1)}),
        Frame(ANSWER, 1, "", {str(n): np.ones(1) for n in range(65)}),
        Frame(ANSWER, 1, "w" * 4001),
    ):
        with pytest.raises(Malformed):
            frame.pack()
    with pytest.raises(Malformed, match="at most 100 bytes"):
        Frame(ANSWER, 1, "", {"a": np.ones(100)}).pack(100)


def test_arrays_there_and_back_also_larger_than_any_pipe(connect):
    candidate = connect(ECHO)
    large = np.random.default_rng(0).normal(size=(1500, 1000))
    sent = {"large": large.T, "bits": np.array([True, False]), "one": np.float32(2.5), "gap": large[::7, ::3]}
    for _ in range(3):
        came = candidate.call("echo", sent)
        assert list(came) == list(sent)
        for name, value in sent.items():
            assert np.array_equal(came[name], value)
            assert came[name].dtype == np.asarray(value).dtype


def test_a_value_that_is_no_dictionary_goes_by_the_name_value_and_nan_passes(connect):
    answer = connect("import numpy as np\ndef f(x): return x * np.nan\n").call("f", ONES)
    assert np.isnan(answer["value"]).all()


def test_an_exception_comes_as_one_line_and_the_candidate_goes_on(connect):
    candidate = connect("def f(x):\n    raise ValueError('no\\nway \\ud800')\ndef g(x): return x\n")
    with pytest.raises(CandidateFailed) as error:
        candidate.call("f", ONES)
    assert "ValueError: no | way" in str(error.value)
    assert "\n" not in str(error.value)
    assert candidate.call("g", ONES)["value"].sum() == 3
    with pytest.raises(CandidateFailed, match="define h"):
        candidate.call("h", ONES)


def test_an_answer_of_another_form_is_the_candidates_fault(connect):
    candidate = connect("def f(x): return x.astype('float32')\n")
    for form in ({"value": ("float64", (3,))}, {"value": ("float32", (4,))}, {"loss": ("float32", (3,))}):
        with pytest.raises(CandidateFailed, match="but got value float32"):
            candidate.call("f", ONES, expect=form)
    assert candidate.call("f", ONES, expect={"value": ("float32", (3,))})


def test_an_import_that_fails_is_told_at_the_start(connect):
    with pytest.raises(CandidateFailed, match="ZeroDivisionError"):
        connect("1 / 0")


def test_prints_do_not_reach_the_channel(connect, capfd):
    candidate = connect("import os\ndef f(x):\n    print('loud')\n    os.write(1, b'raw')\n    return x\n")
    assert candidate.call("f", ONES)["value"].sum() == 3
    candidate.call("f", ONES)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("os._exit(0)", CandidateGone),
        ("os.kill(os.getpid(), 9)", CandidateGone),
        ("os.write(w, header(rest=1000) + bytes(500)); os._exit(0)", CandidateGone),
        ("os.write(w, header()[:7]); os._exit(0)", CandidateGone),
        ("os.close(w); time.sleep(60)", CandidateGone),
        ("time.sleep(60)", CandidateHung),
        ("os.write(w, header(rest=1000)); time.sleep(60)", CandidateHung),
        ("for _ in range(600):\n    os.write(w, b'A'); time.sleep(0.02)", CandidateGarbled),
        ("os.write(w, header(rest=10**6))\nwhile True: os.write(w, b'x'); time.sleep(0.1)", CandidateHung),
        ("while True: os.write(w, bytes(65536))", CandidateGarbled),
        ("while True: os.write(w, header())", CandidateGarbled),
        ("os.write(w, header(magic=b'PK34')); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(kind=9)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(kind=2)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(number=2)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(rest=2**63)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(rest=2**28 + 1)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(arrays=65, rest=9)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(label=9, rest=4) + bytes(4)); time.sleep(60)", CandidateGarbled),
        ("os.write(w, header(label=2, rest=2) + b'\\xff\\xfe'); time.sleep(60)", CandidateGarbled),
        ("data = b'\\x01a\\x00\\x01' + struct.pack('<Q', 2**62)\n"
         "os.write(w, header(arrays=1, rest=len(data)) + data); time.sleep(60)", CandidateGarbled),
        ("data = b'\\x01a\\x00\\x02' + struct.pack('<QQ', 0, 2**63)\n"
         "os.write(w, header(arrays=1, rest=len(data)) + data); time.sleep(60)", CandidateGarbled),
        ("data = b'\\x01a\\x07\\x00x'\n"
         "os.write(w, header(arrays=1, rest=len(data)) + data); time.sleep(60)", CandidateGarbled),
        ("data = b'\\x01a\\x06\\x00\\x02'\n"
         "os.write(w, header(arrays=1, rest=len(data)) + data); time.sleep(60)", CandidateGarbled),
        ("data = 2 * b'\\x01a\\x05\\x00' + b'xx'\n"
         "os.write(w, header(arrays=2, rest=len(data)) + data); time.sleep(60)", CandidateGarbled),
    ],
    ids=["leaves", "killed", "dies in a frame", "dies in a header", "closes its end", "hangs", "hangs in a frame",
         "one byte at a time, wrong", "one byte at a time", "floods with zeros", "floods with frames", "magic",
         "kind", "a call of its own", "number", "length 2**63", "length over the bound", "many arrays", "long label",
         "label no text", "length of an array", "lengths beside zero", "unknown type", "bool of 2", "name twice"],
)  # fmt: skip
def test_whatever_a_candidate_does_the_trainer_is_told_in_time_and_goes_on(connect, body, fault):
    """The one that floods with frames answers the first call, and none after."""
    candidate = connect(raw(body))
    began = time.monotonic()
    with pytest.raises(fault) as error:
        for _ in range(2):
            candidate.call("f", ONES, timeout=1.5)
    assert time.monotonic() - began < 10
    assert "Expected the candidate to answer f" in str(error.value)
    with pytest.raises(fault):  # and it stays lost, at once
        candidate.call("f", ONES, timeout=1.5)


def test_a_candidate_that_reads_nothing_blocks_nobody(connect):
    candidate = connect("import time\ndef f(x): time.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(CandidateHung):
        candidate.call("f", {"x": np.ones(4_000_000)}, timeout=2)
    with pytest.raises(CandidateHung):
        candidate.call("f", {"x": np.ones(4_000_000)}, timeout=2)
    assert time.monotonic() - began < 10


def test_two_full_pipes_do_not_wait_for_each_other(connect, tmp_path):
    """It writes before it has read: a frame that nobody asked for, larger than a pipe."""
    stub = "import os, struct, sys, time\nw = int(os.environ['CHANNEL_WRITE'])\n"
    stub += "def send(data):\n    while data: data = data[os.write(w, data):]\n"
    stub += "send(struct.pack('<4sBBHIQ', b'AEC1', 1, 0, 0, 0, 0))\n"
    stub += (
        "time.sleep(0.2)\nsend(struct.pack('<4sBBHIQ', b'AEC1', 3, 0, 0, 1, 10**6) + bytes(10**6))\ntime.sleep(60)\n"
    )
    (tmp_path / "eager.py").write_text(stub)
    candidate = connect("", stub=str(tmp_path / "eager.py"))
    with pytest.raises(CandidateGarbled, match="before the call was read"):
        candidate.call("f", {"x": np.ones(4_000_000)}, timeout=20)


def test_a_child_that_writes_into_the_channel_harms_its_own_candidate_alone(connect):
    body = "if os.fork() == 0:\n    while True: os.write(w, b'junk')\ntime.sleep(0.3)\nreturn {}"
    candidate = connect(raw(body))
    with pytest.raises(CandidateGarbled):
        candidate.call("f", ONES, timeout=5)


def test_a_candidate_ends_with_its_trainer(connect):
    candidate = connect(ECHO)
    candidate.call("echo", ONES)
    reading = os.dup(int(os.environ["CHANNEL_READ"]))
    poll = select.poll()
    poll.register(reading)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, int(os.environ["CHANNEL_WRITE"]))  # closes the trainer's end
    assert poll.poll(20_000)[0][1] & select.POLLHUP
    os.close(reading)
    os.close(null)


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("raise channel.CandidateFailed('lost')", 86),
        ("raise channel.CandidateHung('lost')", 86),
        ("raise ValueError('ours')", 1),
        ("pass", 0),
        ("raise SystemExit(3)", 3),
    ],
)
def test_an_uncaught_fault_of_the_candidate_is_told_by_the_exit_status(statement, status):
    program = f"import sys\nsys.path.insert(0, {os.path.dirname(channel.__file__)!r})\nimport channel\n"
    program += f"channel._end_with_status()\n{statement}\n"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == status
    assert ("lost" in ended.stderr.splitlines()[-1]) if status == 86 else True


def test_both_sides_of_the_contract_use_the_same_numbers():
    """The supervisor does not import the channel, which needs numpy."""
    assert production.CANDIDATE_FAULT_STATUS == channel.CANDIDATE_FAULT_STATUS
    assert (programs.READ_END, programs.WRITE_END) == (channel.READ_END, channel.WRITE_END)
    assert struct.calcsize("<4sBBHIQ") == HEADER.size == 20
    assert READY == 1
    assert issubclass(CandidateGone, CandidateFault)
