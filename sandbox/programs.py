"""What each program of a job is given: its script, what it may see and write, its bounds, and where its log goes.

Every data folder of the domain is covered where it lies, and shown at /job to the programs that may see it alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from .confinement import Program
from .gpus import PROBE
from .isolation import Mount, Request, marks
from .jobs import JobFolder, JobSpec, Limits

Part = Literal["public", "train", "inputs", "hidden"]
PLACES: dict[Part, str] = {"public": "data", "train": "train", "inputs": "inputs", "hidden": "hidden"}
READ_END, WRITE_END = "CHANNEL_READ", "CHANNEL_WRITE"
"""As `channel.py` reads them."""


class Programs:
    """Makes the programs of one job, in the order in which they are asked for."""

    def __init__(self, folder: JobFolder, spec: JobSpec) -> None:
        self._folder = folder
        self._spec = spec
        self._sandboxes = 0

    def generator(self) -> Program:
        """Makes data. It sees all that the domain has, and no candidate."""
        self._folder.generated.mkdir()
        request = self._request(
            f"/job/generator/{self._spec.generator}",
            self._spec.evaluator_limits,
            Mount(str(self._folder.generator), "/job/generator"),
            Mount(str(self._folder.generated), "/job/out", writable=True),
            *self._data("public", "train", "inputs", "hidden"),
            trusted=True,
        )
        log = self._folder.generator_log
        return self._program(request, self._spec.evaluator_limits, log, None, self._folder.generated)

    def gpu_probe(self) -> Program:
        """Looks whether the granted devices can be seen from inside."""
        folder = self._folder.path / "probe"
        folder.mkdir(mode=0o755)
        (folder / "probe.py").write_text(PROBE)
        request = self._request(
            "/job/probe/probe.py",
            self._spec.evaluator_limits,
            Mount(str(folder), "/job/probe"),
            gpus=self._spec.gpus,
            trusted=True,
        )
        return self._program(request, self._spec.evaluator_limits, self._folder.probe_log, None, None)

    def harness(self) -> Program:
        """Shape `run`: the harness beside the candidate."""
        request = self._request(
            f"/job/harness/{self._spec.harness}",
            self._spec.limits,
            Mount(str(self._folder.candidate), "/job/candidate"),
            Mount(str(self._folder.harness), "/job/harness"),
            Mount(str(self._folder.out), "/job/out", writable=True),
            *self._data("public", "train", "inputs"),
            gpus=self._spec.gpus,
        )
        return self._logged(request, self._spec.limits, self._folder.out)

    def fit(self) -> Program:
        """Shape `fit_predict`: the harness beside the candidate, with what there is to learn from."""
        out, checkpoint = self._folder.fit / "out", self._folder.fit / "checkpoint"
        for folder in (self._folder.fit, out, checkpoint):
            folder.mkdir(mode=0o755)
        request = self._request(
            f"/job/harness/{self._spec.harness}",
            self._spec.limits,
            Mount(str(self._folder.candidate), "/job/candidate"),
            Mount(str(self._folder.harness), "/job/harness"),
            Mount(str(out), "/job/out", writable=True),
            Mount(str(checkpoint), "/job/checkpoint", writable=True),
            *self._data("public", "train"),
            gpus=self._spec.gpus,
        )
        return self._logged(request, self._spec.limits, self._folder.fit)

    def predict(self) -> Program:
        """Shape `fit_predict`: beside the candidate again, with the checkpoint and with inputs, and nothing else."""
        request = self._request(
            f"/job/predict/{self._spec.predict}",
            self._second_limits,
            Mount(str(self._folder.candidate), "/job/candidate"),
            Mount(str(self._folder.predict), "/job/predict"),
            Mount(str(self._folder.checkpoint), "/job/checkpoint"),
            Mount(str(self._folder.out), "/job/out", writable=True),
            *self._data("public", "inputs"),
            gpus=self._spec.gpus,
        )
        return self._program(request, self._second_limits, self._folder.predict_log, None, self._folder.out)

    def trainer(self, read_end: int, write_end: int) -> Program:
        """Shape `serve`: the harness, without the candidate."""
        request = self._request(
            f"/job/harness/{self._spec.harness}",
            self._spec.limits,
            Mount(str(self._folder.harness), "/job/harness"),
            Mount(str(self._folder.channel), "/job/channel"),
            Mount(str(self._folder.out), "/job/out", writable=True),
            *self._data("public", "train", "inputs"),
            gpus=self._spec.gpus,
            pipes=((READ_END, read_end), (WRITE_END, write_end)),
            trusted=True,
        )
        return self._program(request, self._spec.limits, self._folder.trainer_log, None, self._folder.out)

    def candidate(self, read_end: int, write_end: int) -> Program:
        """Shape `serve`: the candidate, which has nothing but the public data and its end of the pipes."""
        stub = self._spec.stub
        request = self._request(
            "/job/channel/channel.py" if stub is None else f"/job/stub/{stub}",
            self._second_limits,
            Mount(str(self._folder.candidate), "/job/candidate"),
            Mount(str(self._folder.channel), "/job/channel"),
            *([Mount(str(self._folder.stub), "/job/stub")] if stub is not None else []),
            *self._data("public"),
            pipes=((READ_END, read_end), (WRITE_END, write_end)),
        )
        return self._logged(request, self._second_limits, None)

    def evaluator(self) -> Program:
        """Judges the outputs; of all programs beside the generator the only one that sees hidden data."""
        request = self._request(
            f"/job/evaluator/{self._spec.evaluator}",
            self._spec.evaluator_limits,
            Mount(str(self._folder.evaluator), "/job/evaluator"),
            Mount(str(self._folder.outputs), "/job/outputs"),
            Mount(str(self._folder.result), "/job/result", writable=True),
            *self._data("public", "hidden"),
            trusted=True,
            told={"baseline": self._spec.baseline},
        )
        log = self._folder.evaluator_log
        return self._program(request, self._spec.evaluator_limits, log, None, self._folder.result)

    @property
    def _second_limits(self) -> Limits:
        return self._spec.second_limits if self._spec.second_limits is not None else self._spec.limits

    def _logged(self, request: Request, limits: Limits, writes_to: Path | None) -> Program:
        return self._program(request, limits, self._folder.stdout, self._folder.stderr, writes_to)

    def _program(
        self, request: Request, limits: Limits, stdout: Path, stderr: Path | None, writes_to: Path | None
    ) -> Program:
        groups = Path(self._spec.groups) if self._spec.groups is not None else None
        return Program(request, limits, stdout, stderr, writes_to, groups)

    def _data(self, *parts: Part) -> list[Mount]:
        """What the generator made takes the place of what the domain brings."""
        brought = self._brought()
        mounts: list[Mount] = []
        for part in parts:
            made = self._folder.generated / part
            source = str(made) if part != "public" and made.is_dir() else brought[part]
            if source is not None:
                mounts.append(Mount(source, f"/job/{PLACES[part]}"))
        return mounts

    def _brought(self) -> dict[Part, str | None]:
        spec = self._spec
        return {
            "public": spec.public_data,
            "train": spec.train_data,
            "inputs": spec.inputs_data,
            "hidden": spec.hidden_data,
        }

    def _request(
        self,
        script: str,
        limits: Limits,
        *mounts: Mount,
        gpus: tuple[int, ...] = (),
        pipes: Sequence[tuple[str, int]] = (),
        trusted: bool = False,
        told: Mapping[str, Any] = MappingProxyType({}),
    ) -> Request:
        """A request in a workplace of its own.

        Args:
            trusted: whether the program runs without the candidate, and may know the hidden seed.
            told: what it finds in its params.json besides.
        """
        self._sandboxes += 1
        workplace = self._folder.path / f"sandbox-{self._sandboxes}"
        workplace.mkdir(mode=0o755)
        hosts = self._folder.path / "hosts"
        hosts.write_text("127.0.0.1 localhost sandbox\n")  # workers that meet over loopback ask for it by name
        params = self._trusted_params(told) if trusted else self._folder.params
        return Request(
            interpreter=self._spec.interpreter,
            script=script,
            mounts=(Mount(str(params), "/job/params.json"), Mount(str(hosts), "/etc/hosts"), *mounts),
            tmp_bytes=int(limits.disk_mb * 1e6),
            threads=self._spec.threads,
            gpus=gpus,
            workplace=str(workplace),
            mark=marks.first_mark(self._spec.token) + self._sandboxes,
            hidden=tuple(path for path in self._brought().values() if path is not None),
            pipes=tuple(pipes),
            pids=limits.pids,
        )

    def _trusted_params(self, told: Mapping[str, Any]) -> Path:
        path = self._folder.path / ("evaluator-params.json" if told else "trusted-params.json")
        seed = {"hidden_seed": self._spec.hidden_seed} if self._spec.hidden_seed is not None else {}
        path.write_text(json.dumps(json.loads(self._folder.params.read_text()) | seed | dict(told), indent=1))
        path.chmod(0o644)
        return path
