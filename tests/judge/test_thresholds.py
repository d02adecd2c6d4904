import pytest

from loopmark.bench.errors import BadInput
from loopmark.bench.judge.thresholds import Thresholds, parse_flags, parse_share
from loopmark.phases import PHASES


@pytest.mark.parametrize(("text", "share"), [("0.05", 0.05), ("5%", 0.05), (" 5 % ", 0.05), ("0", 0.0), ("150%", 1.5)])
def test_a_share_is_written_as_a_number_or_in_per_cent(text: str, share: float) -> None:
    assert parse_share(text, "here") == pytest.approx(share)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is no share"), ("five", "is no share"), ("-1%", "0 or more"), ("nan", "0 or more"), ("inf%", "0 or more"),
        (float("nan"), "0 or more"), (-0.1, "0 or more"), (True, "is no share"), (None, "is no share"),
        ([0.05], "is no share"), (10**400, "a share is a number"),
        ("5", "write 5% if"), (5, "write 5% if"), ("1e9%", "lets everything pass"),
    ],
)  # fmt: skip
def test_what_is_no_share_is_refused_with_the_place_and_what_to_write(value: object, says: str) -> None:
    with pytest.raises(BadInput, match="here: ") as refusal:
        parse_share(value, "here")
    assert says in str(refusal.value)


def test_flags_name_a_metric_and_its_share_and_the_last_one_counts() -> None:
    shares = parse_flags(["forward=5%", "step/eager=0.02", "peak-memory = 1%", "forward=6%"])
    assert shares == pytest.approx({"forward": 0.06, "step / eager": 0.02, "peak memory": 0.01})


@pytest.mark.parametrize("flag", ["forward", "=5%", "", "forward:5%"])
def test_a_flag_without_a_metric_or_a_share_is_refused_with_an_example(flag: str) -> None:
    with pytest.raises(BadInput, match="such as forward=5%"):
        parse_flags([flag])


def test_each_metric_has_its_own_threshold_and_a_phase_without_one_the_steps() -> None:
    thresholds = Thresholds().changed({"step": 0.2, "step / eager": 0.03, "peak memory": 0.01, "forward": 0.04})
    named = [thresholds.of(name) for name in ("step", "step / eager", "peak memory", "forward", "backward")]
    assert named == [0.2, 0.03, 0.01, 0.04, 0.2]
    assert thresholds.phases == {"forward": 0.04}


def test_later_changes_keep_what_they_do_not_name() -> None:
    thresholds = Thresholds().changed({"forward": 0.04, "step": 0.2}).changed({"backward": 0.05})
    assert thresholds.phases == {"forward": 0.04, "backward": 0.05}
    assert thresholds.step == 0.2


def test_a_metric_that_no_run_has_is_refused_with_the_nearest_name() -> None:
    thresholds = Thresholds().changed({"forwrd": 0.05})
    with pytest.raises(BadInput, match=r"no metric named 'forwrd'.*did you mean 'forward'"):
        thresholds.refuse_unknown(())
    with pytest.raises(BadInput, match="there are step"):
        Thresholds().changed({"zzzz": 0.05}).refuse_unknown(())


def test_a_phase_of_a_persons_own_loop_may_have_a_threshold() -> None:
    thresholds = Thresholds().changed({"all_reduce": 0.05})
    thresholds.refuse_unknown(["forward", "all_reduce"])
    with pytest.raises(BadInput, match="all_reduce"):
        thresholds.refuse_unknown(["forward"])


def test_every_phase_may_have_a_threshold_whether_or_not_a_run_has_it() -> None:
    Thresholds(phases=dict.fromkeys(PHASES, 0.05)).refuse_unknown(())
