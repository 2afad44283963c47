"""The three shapes wherever they can run: in every tier, for root and for an ordinary user."""

import os
import shutil
from dataclasses import replace

import pytest
from asi_evolve.domains.loader import load_domain
from asi_evolve.evolution.outcomes import Outcome
from asi_evolve.sandbox.isolation import from_fields

from .shape_lab import DOMAINS, ShapeLab
from .test_fit_predict import model

ORDINARY_USER = 4243


@pytest.mark.parametrize("shape", ["number", "curve", "bandit"])
@pytest.mark.parametrize("tier", ["bwrap", "userns", "landlock", "unconfined"])
def test_a_baseline_is_scored_in_every_tier(tmp_path, working_tiers, interpreter, tier, shape):
    if tier not in working_tiers:
        pytest.skip(f"no {tier} on this machine")
    lab = ShapeLab(tmp_path / "jobs", from_fields(working_tiers[tier]), interpreter)
    end = lab.run(shape)
    assert end.outcome is Outcome.SCORED, end.reason
    assert end.environment["tier"] == tier


@pytest.mark.skipif(os.getuid() != 0, reason="already an ordinary user")
@pytest.mark.parametrize("shape", ["curve", "bandit"])
def test_a_baseline_is_scored_for_an_ordinary_user(shapes, shape):
    end = shapes.run_as(ORDINARY_USER, shape)
    assert end is not None, (shapes.last().path / "supervisor.log").read_text()
    assert end.outcome is Outcome.SCORED, end.reason


@pytest.mark.skipif(os.getuid() != 0, reason="already an ordinary user")
def test_a_folder_closed_by_an_ordinary_users_candidate_is_never_our_fault(shapes):
    """The watcher opens such a folder where it looks in time; else it is no checkpoint that can be read."""
    fit = "os.mkdir(os.environ['JOB'] + '/checkpoint/d'); os.chmod(os.environ['JOB'] + '/checkpoint/d', 0); return 0.0"
    if shapes.grant.isolation.name == "landlock":  # which refuses every chmod
        fit = "os.umask(0o777); os.mkdir(os.environ['JOB'] + '/checkpoint/d'); os.umask(0o22); return 0.0"
    end = shapes.run_as(ORDINARY_USER, "curve", model(fit=fit))
    if end.outcome is not Outcome.SCORED:
        assert (end.outcome, "can be read" in end.reason) == (Outcome.INVALID_OUTPUT, True), end.reason


def test_data_of_a_domain_beneath_the_interpreters_folder_is_seen_only_where_it_is_given(shapes, tmp_path):
    """So it lies for a domain that was installed as a package."""
    shapes.run("curve")
    prefix = tmp_path / "prefix"
    domain = prefix / "lib" / "curve"
    shutil.copytree(DOMAINS / "curve", domain)
    text = (domain / "domain.toml").read_text()
    (domain / "domain.toml").write_text(text.replace('generator = "generator.py"\n', ""))
    shutil.copytree(shapes.last().generated, domain / "data")
    assert load_domain(domain).data_folder("hidden")
    interpreter = shapes.grant.interpreter
    shapes.grant = replace(
        shapes.grant, interpreter=replace(interpreter, roots=(*interpreter.roots, str(prefix)))
    )  # fmt: skip
    look = f"""
        seen = []
        for part in ("train", "inputs", "hidden"):
            try: open(f"{domain}/data/{{part}}/points.npz", "rb").read(1)
            except OSError: continue
            seen.append(part)
        print(json.dumps(seen + [os.path.exists("{domain}/brief.md")]))
    """
    end = shapes.run(domain, model(fit=look + "    return 0.0", predict=look + "    return 0.0 * x"))
    assert end.outcome is Outcome.SCORED, end.reason
    own = [] if shapes.grant.isolation.has_namespaces else ["inputs"]  # no other name for it there
    assert shapes.said("predict") == [*own, True]
    assert "hidden" not in shapes.last().stdout.read_text()
