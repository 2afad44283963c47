"""What can be known of GPUs on a machine without one: the driver's files, and that nothing is pretended."""

import pytest
from asi_evolve.evolution.errors import SandboxUnavailable
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.gpus import MemoryWatch, installed, models, visible_devices

from .conftest import SUBMIT
from .test_isolation import sees

INFORMATION = """Model: \t\t NVIDIA {model}
IRQ:   \t\t 33
GPU UUID: \t GPU-{uuid}
Device Minor: \t {minor}
"""


@pytest.fixture
def driver(tmp_path):
    """Two devices, which the driver lists in another order than their nodes are numbered."""
    for bus, model, uuid, minor in (("0000:01:00.0", "H200", "aaaa", 1), ("0000:02:00.0", "L4", "bbbb", 0)):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(INFORMATION.format(model=model, uuid=uuid, minor=minor))
    return tmp_path


def test_programs_are_told_of_devices_by_what_no_order_can_change(driver):
    assert visible_devices((1,), driver) == "GPU-aaaa"
    assert visible_devices((0, 1), driver) == "GPU-bbbb,GPU-aaaa"
    assert models((0, 1, 7), driver) == ["NVIDIA L4", "NVIDIA H200", "unknown"]


def test_without_the_drivers_word_they_are_numbered_as_they_are_seen(tmp_path):
    assert installed(tmp_path) == {}
    assert visible_devices((3, 5), tmp_path) == "0,1"


def test_a_job_without_gpus_sees_none(lab):
    nodes = "[name for name in os.listdir('/dev') if 'nvidia' in name]"
    assert sees(lab, f"os.environ['CUDA_VISIBLE_DEVICES'], {nodes}") == "('', [])"


@pytest.mark.skipif(bool(installed()), reason="this machine has a GPU")
def test_a_granted_gpu_that_cannot_be_used_stops_the_job_before_the_candidate_runs(lab):
    end = lab.run("print('ran')\n" + SUBMIT, gpus=(0,))
    assert end.outcome is Outcome.INFRASTRUCTURE_ERROR
    assert "GPU" in end.reason
    assert "driver" in end.reason
    assert not lab.last().stdout.exists()


@pytest.mark.skipif(bool(installed()), reason="this machine has a GPU")
def test_a_bound_on_gpu_memory_without_nvml_is_refused_in_words():
    with pytest.raises(SandboxUnavailable, match=r"nvidia-ml-py|GPU"):
        MemoryWatch((0,))
