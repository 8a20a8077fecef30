"""Typed run settings, names that become objects, and near names for misspelt ones."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fuse import config, schedules
from fuse.config import Run, build, check, construct, near, typed
from fuse.data.synthetic import Synthetic
from fuse.errors import InputError
from fuse.losses import views
from fuse.models.densefuse import DenseFuse

GOOD = {"dir": "x", "steps": 10}


def test_settings_get_the_types_of_run() -> None:
    run = typed({**GOOD, "steps": "12", "ema": "0.5", "resume": "true", "seed": 3})
    assert isinstance(run, Run)
    assert (run.steps, run.ema, run.resume, run.seed, run.log_every) == (12, 0.5, True, 3, 10)


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({"steps": "abc"}, r"run\.steps: .*'abc'.*Integer"),
        ({"steps": 1.5}, r"run\.steps: .*1\.5"),
        ({"ema": "much"}, r"run\.ema: .*'much'"),
        ({"resume": "perhaps"}, r"run\.resume: .*'perhaps'"),
        ({"step": 3}, r"run\.step: .*'step'"),
        ({"steps": None}, r"run\.steps: "),
        ({"steps": 0}, r"^run\.steps=0: must be at least 1$"),
        ({"log_every": -1}, r"^run\.log_every=-1: must be at least 1$"),
        ({"ema": 1.0}, r"^run\.ema=1\.0: must be in \[0, 1\); 0 switches the average off$"),
        ({"ema": -0.1}, r"^run\.ema=-0\.1: must be in \[0, 1\)"),
        ({"precision": "fp16"}, r"^run\.precision=fp16: choose auto, float32 or bf16$"),
        ({"seed": -1}, r"^run\.seed=-1: must be from 0 to 2147483647$"),
        ({"seed": 2**31}, r"^run\.seed=2147483648: must be from 0"),
    ],
)
def test_wrong_settings_are_refused_by_name(given_settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        typed({**GOOD, **given_settings})


def test_all_wrong_ranges_are_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        typed({**GOOD, "steps": 0, "ema": 2, "precision": "x", "val_pairs": 0})
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "run.steps",
        "run.val_pairs",
        "run.ema",
        "run.precision",
    ]


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("laplace", "did you mean laplacian?"),
        ("averge", "did you mean average?"),
        ("zzz", "choose from average, laplacian, maximum"),
        ("", "choose from average, laplacian, maximum"),
    ],
)
def test_near_names(word: str, wanted: str) -> None:
    assert near(word, ["maximum", "average", "laplacian"]) == wanted


@given(options=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6), word=st.text(max_size=8))
def test_near_always_names_an_option(options: list[str], word: str) -> None:
    assert any(option in near(word, options) for option in options)
    assert near(options[0], options).startswith("did you mean")


def test_build_makes_the_object_with_its_settings() -> None:
    made = build({"_target_": "fuse.data.synthetic.Synthetic", "size": 20, "seed": 7}, test=2)
    assert isinstance(made, Synthetic)
    assert (made.size, made.seed, made.counts["test"]) == (20, 7, 2)


def test_nested_nodes_are_built_first_and_everything_is_plain() -> None:
    scenes = {"_target_": "fuse.data.synthetic.Synthetic", "size": 20}
    node = {"_target_": "builtins.dict", "pair": [1, 2], "inner": scenes}
    made = build(node)
    assert type(made["pair"]) is list
    assert isinstance(made["inner"], Synthetic)
    function = {"_target_": "fuse.losses.views.joint_gradient", "_partial_": True}
    assert build({"_target_": "builtins.dict", "real": function})["real"].func.__name__ == views.joint_gradient.__name__


def test_construct_waits_for_the_rest() -> None:
    schedule = construct({"_target_": "fuse.schedules.decay", "factor": 0.5, "every": 10})
    assert isinstance(schedule, partial)
    assert schedule(25, 100) == schedules.decay(25, 100, 0.5, 10) == 0.25


def test_what_a_constructor_refuses_is_the_users_mistake(unchecked_types: None) -> None:
    with pytest.raises(InputError, match=r"fuse\.models\.densefuse\.DenseFuse: rule 'l9' is not known; choose l1"):
        build({"_target_": "fuse.models.densefuse.DenseFuse", "rule": "l9"})
    weight = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match=r"torch\.optim\.Adam: Invalid learning rate: -1"):
        build({"_target_": "torch.optim.Adam", "fused": True}, params=[weight], lr=-1)


def test_what_breaks_inside_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(DenseFuse, "__init__", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        build({"_target_": "fuse.models.densefuse.DenseFuse"})


@pytest.mark.parametrize("target", ["fuse.models.nothing.Net", "fuse.models.mffgan.Generatr", "nowhere.Net", "Net"])
def test_a_name_that_leads_nowhere_is_refused(target: str) -> None:
    with pytest.raises(InputError, match=target):
        build({"_target_": target})
    problems = check({"model": {"fuser": {"_target_": target}}})
    assert len(problems) == 1
    assert problems[0].startswith(f"model.fuser: '{target}' cannot be used: ")
    assert "\n" not in problems[0]


def test_check_finds_every_problem_at_once() -> None:
    problems = check(
        {
            "model": {
                "fuser": {"_target_": "fuse.models.densefuse.DenseFuse", "role": "l1"},
                "step": {"_target_": "fuse.steps.Directt"},
            },
            "data": {"_target_": "fuse.data.synthetic.Synthetic", "sise": 3, "trian": 2},
            "loss": {"range": [0, 1], "a": {"weight": 1, "term": {"_target_": "fuse.losses.terms.mse", "rool": "x"}}},
        }
    )
    assert problems[0] == "model.fuser.role: fuse.models.densefuse.DenseFuse takes no 'role'; did you mean rule?"
    assert problems[1].startswith("model.step: 'fuse.steps.Directt' cannot be used")
    assert problems[2] == "data.sise: fuse.data.synthetic.Synthetic takes no 'sise'; did you mean size or seed?"
    assert problems[3] == "data.trian: fuse.data.synthetic.Synthetic takes no 'trian'; did you mean train?"
    assert problems[4] == "loss.a.term.rool: fuse.losses.terms.mse takes no 'rool'; did you mean role?"
    assert len(problems) == 5


def test_check_lets_keywords_of_any_name_pass() -> None:
    assert check({"x": {"_target_": "test_config.open_ended", "anything": 1}}) == []
    assert check({"x": {"_target_": "fuse.losses.views.joint_gradient", "_partial_": True}}) == []


def open_ended(**settings: Any) -> dict[str, Any]:
    return settings


def test_the_configuration_is_found_in_the_source_tree() -> None:
    assert config.CONF.endswith("conf")
    assert not config.PACKAGED.exists()
