from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
import torch

from loopmark.loops.catalog import TECHNIQUES, WORKLOADS, find_loop, find_technique, find_workload, label_of
from loopmark.loops.loop import EAGER
from loopmark.loops.technique import Technique
from loopmark.loops.user_code import BadSpec

HOSTILE = [
    "amp_bf16\ncompile",
    "\x1b[31mamp\x1b[0m",
    "a\x00b",
    "\udcff",
    "x" * 5000,
    "amp_bf16;rm -rf .",
    "'amp'",
    "../../etc/passwd",
    "{name}",
    "%s",
    "[bold]",
    "éager",
    "accumulate_٤",
    "\u2028",
    " ",
    "+",
    "++",
    ":",
    "::",
    "a:",
    ":a",
    "a:b:c",
    "\n:step",
    "a\nb.py:step",
    "\x00.py:step",
    ".:step",
    "..:step",
    ".relative:step",
    "a..b:step",
    "os:sep",
    "builtins:max",
    "builtins:dict",
    "torch:no_such_thing",
    ".py:step",
    "/:step",
    "/.py:step",
]


def refusal(name: str) -> str:
    with pytest.raises(BadSpec) as refused:
        find_loop(name)
    return str(refused.value)


@pytest.mark.parametrize("names", list(permutations(["compile", "amp_bf16", "channels_last"])))
def test_the_order_in_which_techniques_are_named_does_not_matter(names: tuple[str, ...]) -> None:
    loop = find_loop("+".join(names))
    assert loop == find_loop("amp_bf16+channels_last+compile")
    assert loop.name == "amp_bf16+channels_last+compile"


def test_techniques_apply_from_low_rank_to_high() -> None:
    loop = find_loop("+".join(["cuda_graph", "accumulate_2", "compile", "fused_optimizer", "amp_bf16", "tf32"]))
    ranks = [technique.rank for technique in loop.techniques]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_each_technique_is_a_loop_by_its_own_name(name: str) -> None:
    loop = find_loop(name)
    assert loop.name == name
    assert [t.name for t in loop.techniques] == [name]


@pytest.mark.parametrize("name", ["eager", " eager ", "eager+eager"])
def test_eager_is_the_canonical_loop(name: str) -> None:
    assert find_loop(name) == EAGER


@pytest.mark.parametrize("name", ["eager+amp_bf16", "amp_bf16+eager", " amp_bf16 + eager "])
def test_eager_plus_a_technique_is_the_technique(name: str) -> None:
    assert find_loop(name) == find_loop("amp_bf16")


def test_a_technique_cannot_be_named_twice() -> None:
    assert refusal("compile+amp_bf16+compile") == "'compile+amp_bf16+compile' names compile twice; name it once"
    assert "accumulate_4 twice" in refusal("accumulate_4+accumulate_04")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("amp_bf16", "amp_fp16"),
        ("fused_optimizer", "foreach_optimizer"),
        ("compile", "compile_reduce_overhead"),
        ("compile", "compile_max_autotune"),
        ("compile_reduce_overhead", "cuda_graph"),
        ("compile_max_autotune", "cuda_graph"),
        ("checkpoint", "cuda_graph"),
        ("accumulate_2", "accumulate_4"),
        ("accumulate_2", "compile_reduce_overhead"),
        ("accumulate_2", "compile_max_autotune"),
    ],
)
def test_techniques_that_exclude_each_other_are_refused_in_either_order(first: str, second: str) -> None:
    for name in (f"{first}+{second}", f"{second}+eager+{first}"):
        text = refusal(name)
        assert f"'{name}' cannot be: " in text
        assert first in text.split(":", 1)[1]
        assert second in text.split(":", 1)[1]
        assert text.endswith("exclude each other; keep one")


def test_every_exclusion_names_a_technique_that_exists() -> None:
    for technique in (*TECHNIQUES.values(), find_technique("accumulate_2")):
        assert technique.excludes <= {*TECHNIQUES, "accumulate_K"}
        assert technique.name not in technique.excludes


def test_a_technique_may_exclude_accumulation(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = Technique("clips", "its own step", rank=30, step=EAGER.base, excludes=frozenset({"accumulate_K"}))
    monkeypatch.setitem(TECHNIQUES, "clips", clips)
    assert "clips and accumulate_K exclude each other" in refusal("accumulate_4+clips")


def test_accumulation_takes_any_whole_number_of_parts_from_two() -> None:
    assert find_loop("accumulate_2").name == "accumulate_2"
    assert find_loop("accumulate_0016").name == "accumulate_16"
    assert find_loop("accumulate_9999").name == "accumulate_9999"


@pytest.mark.parametrize("parts", ["0", "1", "x", "", "-1", "2.5", "10000", "1e3", "４"])
def test_accumulation_in_another_number_of_parts_is_refused(parts: str) -> None:
    assert refusal(f"accumulate_{parts}").endswith("needs a whole K from 2 to 9999, as in accumulate_4")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("amp_bf61", "amp_bf16"),
        ("AMP_BF16", "amp_bf16"),
        ("compiled", "compile"),
        ("chanels_last", "channels_last"),
        ("eagre", "eager"),
        ("cudagraph", "cuda_graph"),
    ],
)
def test_an_unknown_loop_is_refused_with_what_may_have_been_meant(name: str, meant: str) -> None:
    assert refusal(name) == f"no loop named '{name}'; did you mean '{meant}'? see: loopmark list"


def test_an_unknown_loop_like_no_other_is_refused_without_a_guess() -> None:
    assert refusal("qqqqqq") == "no loop named 'qqqqqq'; see: loopmark list"


@pytest.mark.parametrize("name", ["", "  ", "+", "amp_bf16+", "+amp_bf16", "eager+", "amp_bf16++compile"])
def test_an_empty_part_is_refused(name: str) -> None:
    assert refusal(name) == "no loop named ''; see: loopmark list"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_in_one_printable_line(name: str) -> None:
    for find in (find_loop, find_workload):
        with pytest.raises(BadSpec) as refused:
            find(name)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_workload_is_found_by_its_name(name: str) -> None:
    assert find_workload(name) is WORKLOADS[name]
    assert find_workload(name).name == name


def test_an_unknown_workload_is_refused_with_what_may_have_been_meant() -> None:
    with pytest.raises(BadSpec, match=r"^no workload named 'resnt'; did you mean 'resnet'\? see: loopmark list$"):
        find_workload("resnt")


def test_a_label_is_short() -> None:
    assert label_of("deep/down/mine.py:step") == "mine:step"
    assert label_of("package.module:step") == "package.module:step"


def test_a_refusal_shows_what_would_break_its_line_or_steer_the_terminal_escaped() -> None:
    assert str(BadSpec("a\nb\x1b[0m\udcff – µ")) == r"a\nb\x1b[0m\udcff – µ"


def test_a_loop_lacks_what_the_first_of_its_techniques_lacks() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a CUDA device")
    lacks = partial(lambda name: find_loop(name).lacks(torch.device("cpu")))
    assert lacks("amp_bf16+cuda_graph") == "cuda_graph needs a CUDA device; this machine has none"
    assert lacks("tf32+cuda_graph") == "tf32 needs a CUDA device; this machine has none"
    assert lacks("eager") is None


def test_a_compiled_loop_lacks_a_compiler_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-such-compiler"))
    reason = find_loop("amp_bf16+compile").lacks(torch.device("cpu"))
    assert reason is not None
    assert reason.startswith("compile on a CPU needs a C++ compiler; ")
    assert reason.endswith("install g++ or set CXX")


@pytest.mark.parametrize("name", [*TECHNIQUES, "accumulate_4"])
def test_each_technique_names_its_change_in_a_training_script(name: str) -> None:
    code = find_technique(name).code
    said = code.format(optimizer="AdamW", device="cuda")
    assert "optimizer." in said or "torch." in said or said.startswith("AdamW(…, ")
