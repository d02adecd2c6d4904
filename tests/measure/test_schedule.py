from collections import Counter

from loopmark.bench.measure.schedule import Schedule, quads_a_turn, steps_per_block


def test_the_same_seed_makes_the_same_choices_and_another_seed_makes_others() -> None:
    def choices(seed: int) -> list[object]:
        schedule = Schedule(seed)
        return [schedule.shuffled("abcdefgh") for _ in range(5)] + [schedule.turn() for _ in range(20)]

    assert choices(1) == choices(1)
    assert choices(1) != choices(2)


def test_every_case_comes_first_about_as_often_as_any_other() -> None:
    schedule = Schedule(0)
    firsts = Counter(schedule.shuffled("abcd")[0] for _ in range(4000))

    assert set(firsts) == set("abcd")
    assert max(firsts.values()) < 1.2 * min(firsts.values())


def test_a_turn_is_two_quads_in_each_of_which_a_steady_drift_cancels() -> None:
    schedule = Schedule(0)
    seen = set()
    for _ in range(100):
        turn = schedule.turn()
        for quad in (turn[:4], turn[4:]):
            seen.add(quad)
            lapped = [place for place, laps in enumerate(quad) if laps]
            assert sum(lapped) == 3  # 0 + 3 or 1 + 2: the same mean place as those without laps
    assert seen == {(True, False, False, True), (False, True, True, False)}


def test_a_turn_of_slow_steps_is_one_quad_where_each_block_has_a_step_before_it() -> None:
    assert [quads_a_turn(steps, lead_in) for steps, lead_in in ((1, 0), (1, 1), (2, 1), (50, 0))] == [2, 1, 2, 2]
    assert len(Schedule(0).turn(1)) == 4


def test_a_block_holds_as_many_steps_as_fit_and_at_least_one() -> None:
    assert steps_per_block(0.001, 0.005) == 5
    assert steps_per_block(2.0, 0.005) == 1
    assert steps_per_block(1e-9, 0.005) == 1000
