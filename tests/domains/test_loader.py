"""A domain folder is a promise: each way to break it is refused with the file and the key to mend."""

import importlib
import shutil
from pathlib import Path

import pytest
from asi_evolve.domains.loader import MAX_TEXT_BYTES, domain_names, find_domain, load_domain
from asi_evolve.domains.static_check import check_candidate
from asi_evolve.evolution.early_stop import StopRule
from asi_evolve.evolution.errors import DomainError, NotFound
from asi_evolve.evolution.map_elites import DEFAULT_MEASURES, Measure

TOML = """\
default_stage = "explore"

[domain]
name = "number"
version = "1"
title = "A number"
summary = "The larger the better."

[candidate]
entry = "number.py"

[scripts]
harness = "harness.py"
evaluator = "evaluator.py"
evaluator_files = ["exact.py"]

[instances.small]
n = 3
scale = 0.5

[outputs.number]
file = "number.npz"
max_bytes = 1000

[outputs.number.arrays]
values = { dtype = "float64", shape = ["n", 2] }

[metrics.value]
description = "The number"

[fitness]
metric = "value"

[[stages]]
name = "check"
cpu_seconds = 1

[[stages]]
name = "explore"
cpu_seconds = 5
"""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "number"
    (root / "baseline").mkdir(parents=True)
    (root / "domain.toml").write_text(TOML)
    (root / "brief.md").write_text("Return a number.")
    (root / "baseline" / "number.py").write_text("def number():\n    return 1.0\n")
    for script in ("harness.py", "evaluator.py", "exact.py"):
        (root / script).write_text("")
    return root


def refusal(folder: Path) -> str:
    with pytest.raises(DomainError) as caught:
        load_domain(folder)
    return str(caught.value)


def with_toml(folder, old, new):
    assert TOML.count(old) == 1
    (folder / "domain.toml").write_text(TOML.replace(old, new))


def test_a_whole_folder_loads(folder):
    domain = load_domain(folder)
    assert (domain.name, domain.brief) == ("number", "Return a number.")
    assert domain.baseline == {"number.py": "def number():\n    return 1.0\n"}
    assert domain.cognition() == ()
    assert domain.parameters(None) == ("small", {"n": 3, "scale": 0.5})
    assert find_domain(str(folder)) == domain


@pytest.mark.parametrize("name", domain_names())
def test_every_built_in_domain_loads_and_its_baseline_passes_its_own_check(name):
    domain = find_domain(name)
    assert domain.name == name
    check_candidate(domain.baseline, domain.spec.candidate)
    assert all(item.source and item.body for item in domain.cognition())


def test_circle_packing_is_built_in():
    domain = find_domain("circle_packing")
    assert domain.parameters(None)[1]["n"] == 26
    assert domain.parameters("n32")[1]["n"] == 32
    assert len(domain.cognition()) > 0


@pytest.mark.parametrize("missing", ["domain.toml", "brief.md"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    assert str(folder / missing) in refusal(folder)


@pytest.mark.parametrize(
    ("missing", "key"),
    [("harness.py", "scripts.harness"), ("evaluator.py", "scripts.evaluator"), ("exact.py", "scripts.evaluator")],
)
def test_a_missing_script_is_named_with_its_key(folder, missing, key):
    (folder / missing).unlink()
    message = refusal(folder)
    assert "domain.toml" in message
    assert key in message
    assert missing in message


def test_a_folder_among_the_neighbours_stands_for_all_its_files(folder):
    (folder / "kit" / "deep").mkdir(parents=True)
    (folder / "kit" / "__pycache__").mkdir()
    for name in ("a.py", "deep/b.py", "__pycache__/a.pyc"):
        (folder / "kit" / name).write_text("")
    with_toml(folder, '["exact.py"]', '["exact.py", "kit"]')
    files = load_domain(folder).script_files("evaluator")
    assert files == {name: folder / name for name in ("evaluator.py", "exact.py", "kit/a.py", "kit/deep/b.py")}


def test_a_missing_baseline_is_named_with_what_is_there(folder):
    (folder / "baseline" / "number.py").rename(folder / "baseline" / "other.py")
    message = refusal(folder)
    assert "candidate.entry" in message
    assert "baseline/number.py" in message
    assert "['other.py']" in message
    shutil.rmtree(folder / "baseline")
    assert "nothing" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('title = "A number"', 'title = "A number"\ncolour = "red"', "domain.colour"),
        ('title = "A number"\n', "", "domain.title"),
        ('name = "number"', 'name = "Number!"', "domain.name"),
        ('version = "1"', "version = 1", "domain.version"),
        ('version = "1"', 'version = "1"\nshape = "serve_tea"', "domain.shape"),
        ("max_bytes = 1000", 'max_bytes = "many"', "outputs.number.max_bytes"),
        ("max_bytes = 1000", "max_bytes = 0", "outputs.number.max_bytes"),
        ("cpu_seconds = 5", "cpu_seconds = -5", "stages.1.cpu_seconds"),
        ("cpu_seconds = 5", "cpu_seconds = inf", "stages.1.cpu_seconds"),
        ("cpu_seconds = 5", "", "stages.1.cpu_seconds"),
        ("cpu_seconds = 5", "cpu_seconds = 5\nwhen_scored = 'stop'", "stages.1.when_scored"),
        ('dtype = "float64"', 'dtype = "object"', "outputs.number.arrays.values.dtype"),
        ('metric = "value"', 'metric = "speed"', "fitness.metric"),
        ('metric = "value"', 'metric = "value"\ndirection = "up"', "fitness.direction"),
        ('metric = "value"', 'metric = "value"\nproven_bound = "width"', "fitness.proven_bound"),
        ('metric = "value"', 'metric = "value"\n[quarantine]\npopulation = 2', "quarantine.population"),
        ('metric = "value"', 'metric = "value"\n[quarantine]\nconfirm = 1.5', "quarantine.confirm"),
        ('default_stage = "explore"', 'default_stage = "polish"', "default_stage"),
        ('default_stage = "explore"\n', "", "default_stage"),
        ('name = "explore"', 'name = "check"', "stages"),
        ('"n", 2', '"m", 2', "outputs.number.arrays.values.shape"),
        ('"n", 2', '"scale", 2', "outputs.number.arrays.values.shape"),
        ("[instances.small]\nn = 3\nscale = 0.5\n", "", "outputs.number.arrays.values.shape"),
        ('harness = "harness.py"', 'harness = "../harness.py"', "scripts.harness"),
        ('harness = "harness.py"', 'harness = "/etc/passwd"', "scripts.harness"),
        ('["exact.py"]', '["a/../../exact.py"]', "scripts.evaluator_files.0"),
        ('entry = "number.py"', 'entry = "../number.py"', "candidate.entry"),
        ('entry = "number.py"', 'entry = ""', "candidate.entry"),
        ('file = "number.npz"', 'file = "../number.npz"', "outputs.number.file"),
    ],
)
def test_a_wrong_entry_is_named_by_file_and_key(folder, old, new, key):
    with_toml(folder, old, new)
    message = refusal(folder)
    assert str(folder / "domain.toml") in message
    assert f" {key}:" in message


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('rule = "nan"\nat = 0.5', "stop.0: rule 'nan': expected no `at`, but got 0.5"),
        ('rule = "nan"\nvalue = 1', "expected no `value`"),
        ('rule = "above"\nvalue = 1', "expected `metric`"),
        ('rule = "above"\nmetric = "loss"', "expected `value`"),
        ('rule = "below"\nmetric = "loss"\nvalue = 1\nk = 3', "expected no `k`"),
        ('rule = "above_baseline"\nmetric = "loss"\nat = 0.25\nk = 3', "expected `min_sd`"),
        ('rule = "above_baseline"\nmetric = "loss"\nk = 3\nmin_sd = 1', "expected `at`"),
        ('rule = "above_baseline"\nmetric = "loss"\nat = 25\nk = 3\nmin_sd = 1', "stop.0.at"),
        ('rule = "above_baseline"\nmetric = "loss"\nat = 0.25\nk = -3\nmin_sd = 1', "stop.0.k"),
        ('rule = "above_baseline"\nmetric = "loss"\nat = 0.25\nk = 3\nmin_sd = 0', "stop.0.min_sd"),
        ('rule = "below_start"\nmetric = "pass@1"', "expected `by`"),
        ('rule = "below_start"\nmetric = "pass at one"\nby = 1', "stop.0.metric"),
        ('rule = "slow"\nmetric = "loss"', "stop.0.rule"),
        ('rule = "nan"\noutcome = "maybe"', "stop.0.outcome"),
        ('rule = "nan"\nstages = ["polish"]', "stop.0.stages: expected stages out of ['check', 'explore']"),
    ],
)
def test_an_early_stop_rule_with_keys_that_do_not_fit_is_refused(folder, rule, said):
    with_toml(folder, '[[stages]]\nname = "check"', f'[[stop]]\n{rule}\n\n[[stages]]\nname = "check"')
    assert said in refusal(folder)


def test_early_stop_rules_are_read_with_their_stages(folder):
    rules = (
        '[[stop]]\nrule = "nan"\n[[stop]]\nrule = "below_start"\nmetric = "val/pass@1"\nby = 0.05\nat = 0.33\n'
        'outcome = "score"\nstages = ["explore"]\n'
    )
    with_toml(folder, '[[stages]]\nname = "check"', f'{rules}\n[[stages]]\nname = "check"')
    nan, drop = load_domain(folder).spec.stop
    assert nan.resolved() == StopRule("nan")
    assert drop.resolved() == StopRule("below_start", "score", "val/pass@1", at=0.33, by=0.05)
    assert [rule.at_stage("check") for rule in (nan, drop)] == [True, False]
    assert [rule.at_stage("explore") for rule in (nan, drop)] == [True, True]


@pytest.mark.parametrize("value", ["true", "inf", "nan", '"wide"'])
def test_a_bound_that_names_a_parameter_needs_a_number_in_every_instance(folder, value):
    text = TOML.replace('metric = "value"', 'metric = "value"\nproven_bound = "scale"')
    (folder / "domain.toml").write_text(text)
    assert load_domain(folder).spec.fitness.score_bound({"scale": 0.5}) == 0.5
    (folder / "domain.toml").write_text(
        text.replace("[outputs.number]", f"[instances.other]\nn = 3\nscale = {value}\n\n[outputs.number]")
    )
    message = refusal(folder)
    assert "fitness.proven_bound" in message
    assert "instance 'other'" in message


@pytest.mark.parametrize(
    ("written", "bound"), [("", None), ("proven_bound = 3", 3.0), ('proven_bound = 3\ndirection = "minimize"', -3.0)]
)
def test_the_bound_of_the_score_follows_the_direction_of_the_metric(folder, written, bound):
    with_toml(folder, 'metric = "value"', f'metric = "value"\n{written}')
    assert load_domain(folder).spec.fitness.score_bound({}) == bound


def test_measures_are_metrics_or_built_in_with_a_range_or_without(folder):
    assert load_domain(folder).spec.archive_measures() == DEFAULT_MEASURES
    measures = "[measures.value]\nrange = [0, 100]\n[measures.diversity]\n"
    with_toml(folder, "[fitness]", f"{measures}\n[fitness]")
    assert load_domain(folder).spec.archive_measures() == (
        Measure("value", "metric", 0.0, 100.0),
        Measure("diversity", "diversity"),
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[measures.speed]", "measures.speed: expected one of ['value', 'complexity', 'diversity'], but got 'speed'"),
        ("[measures.value]\nrange = [3, 3]", "range: expected [low, high] with low below high, but got [3.0, 3.0]"),
        ("[measures.value]\nrange = [0, inf]", "measures.value.range"),
        ("[measures.value]\nlow = 1", "measures.value.low"),
    ],
)
def test_a_wrong_measure_is_named(folder, written, told):
    with_toml(folder, "[fitness]", f"{written}\n\n[fitness]")
    assert told in refusal(folder)


def test_every_wrong_entry_is_named_at_once(folder):
    (folder / "domain.toml").write_text(
        TOML.replace('version = "1"', "version = 1").replace('metric = "value"', "metric = 2")
    )
    message = refusal(folder)
    assert "domain.version" in message
    assert "fitness.metric" in message


def test_toml_that_does_not_parse_is_told_with_its_line(folder):
    with_toml(folder, 'title = "A number"', "title = A number")
    message = refusal(folder)
    assert "domain.toml" in message
    assert "line 6" in message


def test_a_file_that_is_not_utf8_is_named(folder):
    for name in ("domain.toml", "brief.md", "baseline/number.py"):
        path = folder / name
        before = path.read_bytes()
        path.write_bytes(before + b"\n# caf\xe9\n")
        message = refusal(folder)
        assert str(path) in message
        assert "UTF-8" in message
        path.write_bytes(before)
    load_domain(folder)


def test_a_huge_brief_is_refused_with_both_sizes(folder):
    (folder / "brief.md").write_text("x" * MAX_TEXT_BYTES)
    load_domain(folder)
    (folder / "brief.md").write_text("x" * (MAX_TEXT_BYTES + 1))
    message = refusal(folder)
    assert "brief.md" in message
    assert f"{MAX_TEXT_BYTES} bytes, but it has {MAX_TEXT_BYTES + 1}" in message


def test_cognition_is_read_with_its_sources(folder):
    (folder / "cognition.yaml").write_text("- {title: T, body: B, source: 'arXiv:2406.06484v2', tags: [x]}\n")
    (item,) = load_domain(folder).cognition()
    assert (item.title, item.source, item.tags, item.symptom) == ("T", "arxiv:2406.06484", ("x",), "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: T\n", "expected a list of items, but got dict"),
        ("", "expected a list of items, but got NoneType"),
        ("- {title: T, body: B}\n", "item 1: source"),
        ("- {title: T, body: B, source: S}\n- {title: T, body: B, source: S, page: 3}\n", "item 2: page"),
        ("- just words\n", "item 1"),
        ("- [unclosed\n", "expected YAML"),
        ("- !!python/object/apply:os.system ['true']\n", "expected YAML"),
    ],
)
def test_broken_cognition_is_named_by_file_and_item(folder, text, said):
    (folder / "cognition.yaml").write_text(text)
    domain = load_domain(folder)
    with pytest.raises(DomainError) as caught:
        domain.cognition()
    assert str(folder / "cognition.yaml") in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("path", ["./number", "domains/number", "../number", ".", "/\0", "~nobody-of-this-name/number"])
def test_a_path_must_be_absolute(folder, monkeypatch, path):
    monkeypatch.chdir(folder.parent)
    with pytest.raises(NotFound, match="absolute path of a folder"):
        find_domain(path)


def test_a_path_where_nothing_is_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="nowhere does not exist or is not a folder"):
        find_domain(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotFound, match="not a folder"):
        find_domain(str(tmp_path / "file"))


@pytest.mark.parametrize("name", ["circle_packings", "", "CIRCLE_PACKING"])
def test_an_unknown_name_is_told_which_there_are(name):
    with pytest.raises(NotFound) as caught:
        find_domain(name)
    assert all(known in str(caught.value) for known in domain_names())
    assert repr(name) in str(caught.value)


def test_an_unknown_instance_is_told_which_there_are(folder):
    with pytest.raises(NotFound, match="one of small, but got 'large'"):
        load_domain(folder).parameters("large")


def test_a_domain_of_another_package_is_found_by_its_entry_point(folder, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "numbers-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "numbers_domain.py").write_text(f"def folder():\n    return {str(folder)!r}\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numbers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asi_evolve.domains]\nnumbers = numbers_domain:folder\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    assert find_domain("numbers") == load_domain(folder)
    (info / "entry_points.txt").write_text("[asi_evolve.domains]\nnumbers = numbers_domain:gone\n")
    with pytest.raises(DomainError, match=r"asi_evolve.domains:numbers \(numbers_domain:gone\) failed"):
        find_domain("numbers")


@pytest.mark.parametrize("name", ["evaluator.py", "exact.py", "domain.toml"])
def test_whatever_a_score_depends_on_changes_the_evaluators_hash(folder, name):
    before = load_domain(folder).evaluator_sha256()
    assert load_domain(folder).evaluator_sha256() == before
    (folder / name).write_text((folder / name).read_text() + "\n# changed\n")
    assert load_domain(folder).evaluator_sha256() != before


def test_the_brief_and_the_baseline_do_not_change_the_evaluators_hash(folder):
    before = load_domain(folder).evaluator_sha256()
    (folder / "brief.md").write_text("Other words.")
    (folder / "baseline" / "number.py").write_text("number = None\n")
    assert load_domain(folder).evaluator_sha256() == before


def shaped(folder, shape, script=""):
    """Give the domain another shape."""
    text = TOML.replace('version = "1"', f'version = "1"\nshape = "{shape}"')
    text = text.replace("[scripts]", f"[scripts]\n{script}")
    for name in ("predict.py", "stub.py", "generator.py", "net.py"):
        (folder / name).write_text("")
    (folder / "domain.toml").write_text(text)


def test_each_shape_has_its_programs_with_their_neighbours(folder):
    shaped(folder, "fit_predict", 'predict = "predict.py"\npredict_files = ["net.py"]\ngenerator = "generator.py"')
    domain = load_domain(folder)
    assert list(domain.script_files("predict")) == ["predict.py", "net.py"]
    assert list(domain.script_files("generator")) == ["generator.py"]
    assert domain.script_files("stub") == {}
    shaped(folder, "serve", 'stub = "stub.py"')
    assert list(load_domain(folder).script_files("stub")) == ["stub.py"]
    shaped(folder, "serve")
    assert load_domain(folder).spec.domain.shape == "serve"


@pytest.mark.parametrize(
    ("shape", "script", "key"),
    [
        ("fit_predict", "", "scripts.predict"),
        ("run", 'predict = "predict.py"', "scripts.predict"),
        ("serve", 'predict = "predict.py"', "scripts.predict"),
        ("run", 'stub = "stub.py"', "scripts.stub"),
        ("fit_predict", 'predict = "gone.py"', "scripts.predict"),
        ("fit_predict", 'predict = "predict.py"\npredict_files = ["gone.py"]', "scripts.predict"),
        ("serve", 'stub = "gone.py"', "scripts.stub"),
        ("run", 'generator = "gone.py"', "scripts.generator"),
        ("run", 'generator_files = ["net.py"]', "scripts.generator_files"),
        ("serve", 'stub_files = ["net.py"]', "scripts.stub_files"),
    ],
)
def test_shape_and_scripts_agree(folder, shape, script, key):
    shaped(folder, shape, script)
    assert f"{key}: expected" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[instances.small]", "[checkpoint]\nmax_files = 3\n[instances.small]", "checkpoint"),
        ("max_bytes = 1000", 'max_bytes = 1000\nby = "harness"', "outputs.number.by"),
        ("cpu_seconds = 5", "cpu_seconds = 5\npredict_cpu_seconds = 5", "stages.explore.predict_cpu_seconds"),
        ("cpu_seconds = 5", "cpu_seconds = 5\ncandidate_memory_mb = 5", "stages.explore.candidate_memory_mb"),
    ],
)
def test_a_key_of_another_shape_is_named_with_the_shape_that_it_belongs_to(folder, old, new, key):
    with_toml(folder, old, new)
    message = refusal(folder)
    assert f"{key}: expected only in shape" in message
    assert "'run'" in message


def test_a_length_may_come_from_the_stage_if_every_stage_has_it(folder):
    with_toml(folder, '"n", 2', '"m", 2')
    assert "of instance 'small', which has ['n', 'scale']" in refusal(folder)
    text = (folder / "domain.toml").read_text()
    (folder / "domain.toml").write_text(text + "\n[stages.parameters]\nm = 5\n")
    assert "outputs.number.arrays.values.shape" in refusal(folder)  # stage check has none
    text = text.replace("cpu_seconds = 1\n", "cpu_seconds = 1\nparameters = { m = 4 }\n")
    (folder / "domain.toml").write_text(text + "\n[stages.parameters]\nm = 5\n")
    assert load_domain(folder).spec.stages[1].parameters == {"m": 5}


def test_the_generator_decides_a_score_too(folder):
    shaped(folder, "run", 'generator = "generator.py"')
    before = load_domain(folder).evaluator_sha256()
    (folder / "generator.py").write_text("# changed")
    assert load_domain(folder).evaluator_sha256() != before
