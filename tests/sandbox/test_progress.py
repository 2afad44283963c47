"""A progress file is hostile: whatever becomes of it, a bounded part is read and the rest of the job goes on."""

import contextlib
import json
import os
import resource
import socket
import threading
from pathlib import Path

import pytest
from asi_evolve.evolution.early_stop import StopRule
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.evolution.progress import MAX_POINTS, Progress
from asi_evolve.sandbox.jobs import JobSpec, OutputRule
from asi_evolve.sandbox.processes import start_supervisor
from asi_evolve.sandbox.progress import BYTES_PER_LOOK, LINES_PER_LOOK, ProgressFile, ProgressWatch

from ..waiting import until
from .conftest import SUBMIT

TELL = """
import json, os, time
def tell(text, mode="a"):
    with open("/job/out/progress.jsonl", mode) as stream:
        stream.write(text)
def line(step, **values):
    tell(json.dumps({"step": step, "of": 100, **values}) + "\\n")
"""
NAN = StopRule("nan")
HIGH = StopRule("above", metric="loss", at=0.25, value=5.0)


class File:
    """A progress file and its reader."""

    def __init__(self, folder):
        self.path = folder / "progress.jsonl"
        self.reader = ProgressFile(folder)

    def add(self, data):
        with self.path.open("ab") as stream:
            stream.write(data)

    def look(self):
        return self.reader.look()


@pytest.fixture
def file(tmp_path):
    return File(tmp_path)


def test_lines_are_read_once_and_only_when_they_are_whole(file):
    assert file.look() == []
    file.add(b'{"a": 1}\n{"a"')
    assert file.look() == [b'{"a": 1}']
    assert file.look() == []
    file.add(b": 2}\n\n \n")
    assert file.look() == [b'{"a": 2}']


def test_a_line_that_comes_in_many_pieces_is_one_line(file):
    pieces = []
    for byte in b'{"loss": 1.25}\n':
        file.add(bytes([byte]))
        pieces += file.look()
    assert pieces == [b'{"loss": 1.25}']


def test_a_file_that_is_cut_short_is_read_from_its_start(file):
    file.add(b"one\ntwo\nthr")
    assert file.look() == [b"one", b"two"]
    file.path.write_bytes(b"1\n")
    assert file.look() == [b"1"]


def test_a_file_that_is_exchanged_or_deleted_is_read_from_its_start(file):
    file.add(b"one\ntw")
    assert file.look() == [b"one"]
    other = file.path.with_name("other")
    other.write_bytes(b"first\nsecond\n")
    other.replace(file.path)
    assert file.look() == [b"first", b"second"]
    file.path.unlink()
    assert file.look() == []
    file.add(b"again\n")
    assert file.look()[-1] == b"again"


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "socket", "device"])
def test_what_is_not_a_plain_file_with_one_name_is_not_read(file, tmp_path, kind, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text('{"loss": 1}\n')
    if kind == "link":
        file.path.symlink_to(secret)
    elif kind == "hard link":
        os.link(secret, file.path)
    elif kind == "pipe":
        os.mkfifo(file.path)
    elif kind == "folder":
        file.path.mkdir()
    elif kind == "device":
        file.path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("progress.jsonl")
            assert file.look() == []
    assert file.look() == []


def test_of_ten_megabytes_in_one_line_nothing_is_kept_and_the_next_line_is_read(file):
    file.add(b'{"loss": ' + b"1" * 10_000_000)
    for _ in range(5):
        assert file.look() == []
    assert len(file.reader._rest) <= 4096
    file.add(b'}\n{"loss": 2}\n')
    assert file.look() == [b'{"loss": 2}']


def test_a_line_that_is_too_long_counts_as_one_broken_line(file):
    for _ in range(20):
        file.add(b"x" * 1000)
        assert file.look() == []
    file.add(b"\ngood\n")
    assert (file.look(), file.reader.broken) == ([b"good"], 1)


def test_of_a_flood_the_newest_lines_are_read(file):
    file.add(b"".join(b'{"step": %d}\n' % place for place in range(100_000)))
    lines = file.look()
    assert len(lines) <= LINES_PER_LOOK
    assert lines[-1] == b'{"step": 99999}'
    assert all(json.loads(line) for line in lines), "none is torn"
    assert file.reader.skipped_bytes > BYTES_PER_LOOK
    assert file.look() == []


@pytest.mark.parametrize("content", [b"\n", b"1\n", b'{"a":1}\n', b"[" * 4000 + b"\n", b'{"a":' * 800 + b"\n", b"x"])
def test_a_look_costs_the_same_however_much_there_is(tmp_path, content):
    file = File(tmp_path)
    watch = ProgressWatch(tmp_path, tmp_path / "progress.json", [NAN])
    spent = []
    for _ in range(10):
        file.add(content * (2_000_000 // len(content)))
        before = resource.getrusage(resource.RUSAGE_SELF)
        watch.observe()
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert sorted(spent)[5] < 0.05, "five looks a second are a quarter of a CPU at the very worst"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_what_is_kept_is_written_at_most_once_a_second_and_once_at_the_end(tmp_path):
    file, clock, kept = File(tmp_path), Clock(), tmp_path / "kept.json"
    watch = ProgressWatch(tmp_path, kept, [], clock)
    written = []
    for step in range(50):  # ten seconds, five looks in each
        file.add(b'{"step": %d, "loss": 1}\n' % step)
        watch.observe()
        written.append(kept.stat().st_mtime_ns if kept.exists() else None)
        clock.now += 0.2
    assert 9 <= len(set(written)) <= 11
    assert Progress.from_json(kept.read_text()).latest.step < 49
    file.add(b'{"step": 50}\nnonsense\n')
    watch.finish()
    told = Progress.from_json(kept.read_text())
    assert (told.latest.step, told.lines, told.broken) == (50, 51, 1)
    assert told.points[0].seconds == 0.0
    assert told.latest.seconds == pytest.approx(10.0)
    assert not list(tmp_path.glob(".kept*"))


def test_a_run_that_tells_nothing_leaves_nothing(tmp_path):
    watch = ProgressWatch(tmp_path, tmp_path / "kept.json", [])
    watch.observe()
    watch.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_series_and_nothing_else(small_disk):
    place, _ = small_disk
    file = File(place)
    watch = ProgressWatch(place, place / "kept.json", [StopRule("above", metric="loss", value=9.0)])
    file.add(b'{"loss": 1}\n{"loss": 10}\n')
    with (place / "filler").open("wb", buffering=0) as stream:
        try:
            while stream.write(b"x" * 4096):
                pass
        except OSError:
            pass
    assert watch.observe() is True
    watch.finish()


def test_a_folder_that_is_deleted_is_no_reason_to_fail(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    watch = ProgressWatch(folder, tmp_path / "gone" / "kept.json", [NAN])
    File(folder).add(b'{"loss": 1}\n')
    assert watch.observe() is False
    (folder / "progress.jsonl").unlink()
    folder.rmdir()
    assert watch.observe() is False
    watch.finish()


def test_job_specs_carry_their_rules(lab):
    rules = (NAN, HIGH)
    job = lab.lay_down("pass", stop_rules=rules)
    assert JobSpec.from_json(job.spec.read_bytes()).stop_rules == rules


def test_a_run_is_thinned_out_and_kept(lab):
    end = lab.run(TELL + "for step in range(101):\n    line(step, loss=1 / (step + 1))\n" + SUBMIT)
    assert end.outcome is Outcome.SCORED, end.reason
    told = lab.last().read_progress()
    assert (told.lines, told.broken, len(told.points)) == (101, 0, 101)
    assert (told.points[0].share, told.latest.share) == (0.0, 1.0)
    assert told.notes == ()


def test_a_value_that_is_not_finite_ends_the_run_within_seconds(lab):
    end = lab.run(TELL + SUBMIT + "line(3, loss=float('nan'))\ntime.sleep(25)", stop_rules=(NAN,))
    assert (end.outcome, end.metrics, end.limit) == (Outcome.REJECTED, {}, None)
    assert end.reason == "Stopped early at 3 % (step 3): loss is not finite."
    assert end.usage.wall_seconds < 20, "it would have slept for 25"
    assert lab.last().read_progress().latest.non_finite == ("loss",)


def test_what_a_run_tells_with_its_last_breath_counts_too(lab):
    end = lab.run(TELL + SUBMIT + "line(100, loss=float('inf'))", stop_rules=(NAN,))
    assert end.outcome is Outcome.REJECTED
    assert "not finite" in end.reason


def test_a_crash_is_a_crash_also_after_a_rule_held(lab):
    end = lab.run(TELL + "line(9, loss=float('nan'))\nraise ValueError('diverged')", stop_rules=(NAN,))
    assert end.outcome in (Outcome.CANDIDATE_ERROR, Outcome.REJECTED)
    assert "diverged" in end.reason or "not finite" in end.reason
    end = lab.run(TELL + "line(9, loss=1.0)\nraise ValueError('diverged')", stop_rules=(NAN,))
    assert (end.outcome, "diverged" in end.reason) == (Outcome.CANDIDATE_ERROR, True)


def test_a_bound_at_a_share_is_judged_there_and_not_before(lab):
    def reaching(loss, rest):
        told = f"line(1, loss=99.0)\ntime.sleep(0.5)\nline(25, loss={loss})\ntime.sleep({rest})\n"
        return lab.run(TELL + told + SUBMIT, stop_rules=(HIGH,))

    stopped = reaching(5.5, rest=25)
    assert stopped.outcome is Outcome.REJECTED
    assert stopped.reason == "Stopped early at 25 % (step 25): loss 5.5 is above 5."
    assert reaching(4.5, rest=0).outcome is Outcome.SCORED


EARLY = StopRule("above", "score", "loss", value=5.0)


def test_a_run_that_is_scored_early_is_judged_by_what_it_had_left_and_says_so(lab):
    end = lab.run(TELL + SUBMIT + "line(40, loss=6.0)\ntime.sleep(25)", stop_rules=(EARLY,))
    assert (end.outcome, end.metrics) == (Outcome.SCORED, {"value": 42.0}), end.reason
    assert end.environment["stopped_early"] == "Stopped early at 40 % (step 40): loss 6 is above 5."
    assert end.artifacts == ("outputs/answer.txt",)
    assert end.usage.wall_seconds < 20


def test_a_run_that_had_ended_anyway_was_not_stopped(lab):
    end = lab.run(TELL + SUBMIT + "line(100, loss=6.0)\nos._exit(0)", stop_rules=(EARLY,))
    assert (end.outcome, "stopped_early" in end.environment) == (Outcome.SCORED, False)


@pytest.mark.parametrize(
    ("left", "why"),
    [
        ("", "could not be scored: Expected the output answer.txt"),
        ('open("/job/out/answer.txt", "w").write("forty-")', "could not be scored: Expected digits."),
        ('os.symlink("/job/params.json", "/job/out/answer.txt")', "Expected answer.txt to be a plain file"),
    ],
    ids=["nothing", "torn", "link"],
)
def test_a_stopped_run_without_usable_outputs_is_rejected(lab, left, why):
    end = lab.run(f"{TELL}{left}\nline(40, loss=6.0)\ntime.sleep(25)", stop_rules=(EARLY,))
    assert (end.outcome, end.metrics) == (Outcome.REJECTED, {})
    assert end.reason.startswith("Stopped early at 40 %")
    assert why in end.reason


def test_an_optional_output_may_be_missing_when_a_run_is_scored_early(lab):
    optional = OutputRule("plot.svg", 1000, False, None)
    outputs = (*lab.spec.outputs, optional)
    end = lab.run(TELL + SUBMIT + "line(40, loss=6.0)\ntime.sleep(25)", stop_rules=(EARLY,), outputs=outputs)
    assert end.outcome is Outcome.SCORED


def test_an_evaluator_that_fails_on_what_a_stopped_run_left_is_still_the_domains_fault(lab):
    end = lab.run(TELL + SUBMIT + "line(40, loss=6.0)\ntime.sleep(25)", stop_rules=(EARLY,), evaluator="1 / 0")
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "ZeroDivisionError" in end.reason


HOSTILE = {
    "link to a secret": 'os.symlink("/etc/hostname", "/job/out/progress.jsonl")',
    "link to itself": 'os.symlink("progress.jsonl", "/job/out/progress.jsonl")',
    "pipe": 'os.mkfifo("/job/out/progress.jsonl")',
    "folder": 'os.mkdir("/job/out/progress.jsonl")',
    "two names": 'line(1, loss=1.0)\nos.link("/job/out/progress.jsonl", "/job/out/other")',
    "nested": 'tell("[" * 4000 + "\\n" + \'{"a":\' * 700 + "\\n")',
    "huge number": 'tell(\'{"loss": \' + "9" * 4000 + "}\\n")',
    "one line of 10 MB": 'tell("x" * 10_000_000)',
    "sparse": 'tell("{}")\nos.truncate("/job/out/progress.jsonl", 15_000_000)',
    "cut short again and again": "for n in range(200):\n    tell('{\"loss\": 1}\\n' * 50, 'w')\n    time.sleep(0.005)",
    "exchanged again and again": "for n in range(200):\n    tell('{\"loss\": 1}\\n' * 50)\n"
    "    os.rename('/job/out/progress.jsonl', '/job/out/other')\n    time.sleep(0.005)",
    "held by a lease": "import fcntl, signal\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\n"
    "line(1, loss=1.0)\nheld = open('/job/out/progress.jsonl', 'r+')\n"
    "try:\n    fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)\nexcept OSError:\n    pass\ntime.sleep(1)",
    "for nobody to read": "line(1, loss=1.0)\nos.chmod('/job/out/progress.jsonl', 0)",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_changes_nothing_for_the_run(lab, case):
    end = lab.run(TELL + HOSTILE[case] + "\n" + SUBMIT, stop_rules=(HIGH,))
    assert (end.outcome, end.metrics) == (Outcome.SCORED, {"value": 42.0}), end.reason
    told = lab.last().read_progress()
    assert len(told.points) <= MAX_POINTS
    assert lab.last().progress.stat().st_size < 1_000_000


FLOOD = """
row = (json.dumps({"step": 1, "of": 9, **{"metric%02d" % n: 0.1 + n for n in range(14)}}) + "\\n") * 2000
end = time.monotonic() + 3
size = 0
with open("/job/out/progress.jsonl", "w") as stream:
    while time.monotonic() < end:
        if size > 15_000_000:
            stream.seek(0), stream.truncate()
            size = 0
        size += stream.write(row)
"""


def test_a_flood_neither_slows_the_supervisor_nor_fills_the_disk(lab):
    job = lab.lay_down(TELL + FLOOD + SUBMIT)
    supervisor = start_supervisor(job)
    threading.Thread(target=supervisor.wait).start()
    spent = []

    def ended():
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{supervisor.pid}/stat").read_text().rsplit(")", 1)[1].split()
            spent.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        return job.exit.exists()

    until(ended, 40)
    end = until(job.read_exit)
    assert end.outcome is Outcome.SCORED, end.reason
    told = job.read_progress()
    assert told.skipped_bytes > 1_000_000
    assert len(told.points) <= MAX_POINTS
    assert job.progress.stat().st_size < 1_000_000
    assert max(spent) < 0.5 * end.usage.wall_seconds, "the watcher of the bounds has its time"


def test_a_flood_does_not_hide_a_bound(lab):
    end = lab.run(TELL + FLOOD + "x = bytearray(800_000_000)\ntime.sleep(20)")
    assert (end.outcome, end.limit.name) == (Outcome.LIMIT, "memory")
