"""``report.html`` in a real browser: its console, its folds, its sorting, and its layout on any screen."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopmark.bench.report.draw import draw
from loopmark.bench.report.history import write_history
from tests.report.html.chromium import browser, needed, show
from tests.support.histories import history_of
from tests.support.hostile import NAMES
from tests.support.synthetic import Truth, ceilings, make_run

pytestmark = needed
LOOPS = [
    Truth("eager"), Truth("eager", repeat=True), Truth("compile", 0.006, compile_seconds=20.0), Truth("slow", 0.1),
    Truth("cuda_graph", status="skipped", reason="needs a <CUDA> device"),
]  # fmt: skip


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run, samples = make_run(LOOPS, ("resnet",), launches=3, rounds=4)
    draw(folder, run, samples, ceilings=ceilings())
    return folder / "report.html"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    loops = [*LOOPS[:2], *(Truth(name, 0.006) for name in NAMES), Truth("fails", status="failed", reason=NAMES[0])]
    run, samples = make_run(loops, (NAMES[0],), launches=2, rounds=2)
    draw(folder, dataclasses.replace(run, warnings=NAMES), samples)
    return folder / "report.html"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    write_history(folder, history_of({"a": [0.3] * 40 + [0.1] * 40, NAMES[0]: [0.2] * 80}))
    return folder / "history.html"


def column(driver: Any, heading: str) -> list[str]:
    """The first table's cells under ``heading``, from the top."""
    return driver.execute_script(
        "const t = document.querySelector('table'); const at = [...t.tHead.rows[0].cells]"
        ".findIndex(c => c.textContent.trim() === arguments[0]);"
        "return [...t.tBodies[0].rows].map(r => r.cells[at].textContent)",
        heading,
    )


def press(driver: Any, heading: str, key: str | None = None) -> str | None:
    """Click the first table's heading, or press a key on it; return its ``ariaSort``."""
    from selenium.webdriver.common.by import By

    button = driver.find_element(By.XPATH, f"(//table)[1]//button[normalize-space()='{heading}']")
    if key is None:
        button.click()
    else:
        button.send_keys(key)
    return driver.execute_script("return arguments[0].closest('th').ariaSort", button)


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "hostile", "course"])
def test_the_console_stays_silent_and_nothing_is_wider_than_the_screen(
    driver: Any, which: str, scheme: str, width: int, request: pytest.FixtureRequest
) -> None:
    show(driver, request.getfixturevalue(which), width=width, scheme=scheme)

    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_page_asks_for_nothing_but_itself(driver: Any, page: Path) -> None:
    driver.get_log("performance")
    show(driver, page)
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}


def test_a_heading_that_is_clicked_sorts_by_figures_up_then_down_then_as_it_was(driver: Any, page: Path) -> None:
    show(driver, page)
    original = column(driver, "loop")

    assert press(driver, "step") == "ascending"
    assert column(driver, "loop") == ["compile", "eager", "eager (again)", "slow", "cuda_graph"] or column(
        driver, "loop"
    ) == ["compile", "eager (again)", "eager", "slow", "cuda_graph"]
    assert press(driver, "step") == "descending"
    assert column(driver, "loop")[0] == "slow"
    assert column(driver, "loop")[-1] == "cuda_graph"  # a loop without a figure stays last
    assert press(driver, "step") == "none"
    assert column(driver, "loop") == original


def test_the_first_click_on_the_speedup_puts_the_fastest_loop_first(driver: Any, page: Path) -> None:
    show(driver, page)

    assert press(driver, "speedup") == "descending"
    assert column(driver, "loop")[0] == "compile"
    assert column(driver, "loop")[-1] == "cuda_graph"
    assert press(driver, "speedup") == "ascending"
    assert column(driver, "loop")[0] == "slow"


def test_skipped_loops_can_be_hidden_and_it_is_told(driver: Any, page: Path) -> None:
    show(driver, page)
    box = driver.find_element("css selector", "label input")

    assert driver.find_element("css selector", "label").text == "Hide 1 skipped loop"
    box.send_keys(" ")
    assert [row.text for row in driver.find_elements("css selector", "tbody tr th") if row.text == "cuda_graph"] == []
    said = "return document.getElementById('said').textContent"
    assert driver.execute_script(said) == "Every loop on resnet: 1 skipped loop hidden"
    box.send_keys(" ")
    assert driver.execute_script(said) == "Every loop on resnet: 1 skipped loop shown"


@pytest.mark.parametrize("width", [390, 1200])
def test_a_narrow_screen_has_narrow_plots_that_need_no_scrolling(driver: Any, page: Path, width: int) -> None:
    show(driver, page, width=width)
    plots = driver.execute_script(
        "return [...document.querySelectorAll('main > section > figure svg')].filter(one => one.checkVisibility())"
        ".map(one => [one.classList.contains('narrow'), one.clientWidth <= one.parentElement.clientWidth])"
    )
    assert plots == [[width == 390, True]] * 2


def open_folds(driver: Any) -> list[str]:
    return driver.execute_script("return [...document.querySelectorAll('details[open]')].map(fold => fold.id)")


def test_the_page_opens_with_the_table_and_two_plots_of_a_workload(driver: Any, page: Path) -> None:
    show(driver, page)
    seen = "return [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility()).length"

    assert open_folds(driver) == []
    assert [driver.execute_script(seen, kind) for kind in ("table", "svg.plot")] == [1, 2]


@pytest.mark.parametrize("key", ["\ue007", " "])  # Enter
def test_a_fold_is_reached_by_tab_and_opened_by_a_key(driver: Any, page: Path, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    show(driver, page)
    driver.execute_script("document.querySelector('details').previousElementSibling.scrollIntoView()")
    driver.execute_script("document.querySelector('[id=\"resnet.phases\"] summary').focus()")
    ActionChains(driver).send_keys("\t").perform()
    assert driver.execute_script("return document.activeElement.closest('details').id") == "resnet.limits"
    driver.switch_to.active_element.send_keys(key)
    assert open_folds(driver) == ["resnet.limits"]


def test_without_scripts_every_fold_opens_and_nothing_offers_what_it_cannot_do(driver: Any, page: Path) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(driver, page)
        assert driver.find_elements("css selector", "button, input") == []
        driver.find_element("css selector", "[id='resnet.start'] summary").click()
        assert [fold.get_attribute("id") for fold in driver.find_elements("css selector", "details[open]")] == [
            "resnet.start"
        ]
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_link_opens_the_fold_that_it_leads_to_also_when_it_is_followed_again(driver: Any, page: Path) -> None:
    show(driver, page)
    for _ in range(2):
        driver.find_element("link text", "Starting up").click()
        assert open_folds(driver) == ["resnet.start"]
        driver.find_element("css selector", "[id='resnet.start'] summary").click()
        assert open_folds(driver) == []


def test_an_address_opens_the_fold_around_its_target(driver: Any, page: Path) -> None:
    driver.get("about:blank")
    driver.get(f"{page.as_uri()}#losses-resnet-title")
    assert open_folds(driver) == ["resnet.losses"]


def test_the_contents_stay_beside_a_wide_page_and_above_a_narrow_one(driver: Any, page: Path) -> None:
    place = "return document.querySelector('nav').getBoundingClientRect()"
    show(driver, page)
    driver.execute_script("scrollTo(0, 900)")
    wide = driver.execute_script(place)
    assert wide["top"] >= 0
    assert driver.execute_script("return document.querySelector('main').getBoundingClientRect().x") >= wide["right"]
    show(driver, page, width=390)
    assert driver.execute_script(place)["height"] < 200
    driver.execute_script("scrollTo(0, 900)")
    assert driver.execute_script(place)["bottom"] < 0


def test_a_key_sorts_as_a_click_does_and_says_so_to_who_cannot_see(driver: Any, page: Path) -> None:
    show(driver, page)
    assert press(driver, "loop", " ") == "ascending"
    assert column(driver, "loop") == sorted(column(driver, "loop"))
    assert driver.execute_script("return document.getElementById('said').textContent") == (
        "Every loop on resnet: ascending by loop"
    )


def test_dark_and_light_differ_in_paper_and_ink_of_the_plots_as_well(driver: Any, page: Path) -> None:
    def colours(scheme: str) -> tuple[str, str, str]:
        show(driver, page, scheme=scheme)
        return tuple(
            driver.execute_script(
                "const p = document.querySelector('svg.plot'); return [getComputedStyle(document.body).backgroundColor,"
                "getComputedStyle(p).fill, getComputedStyle(p.querySelector('[id$=patch_1] path')).fill]"
            )
        )

    assert colours("light") == ("rgb(255, 255, 255)", "rgb(0, 0, 0)", "rgb(255, 255, 255)")
    assert colours("dark") == ("rgb(21, 24, 27)", "rgb(242, 243, 244)", "rgb(21, 24, 27)")


def test_a_screen_reader_is_told_of_every_plot_table_and_part(driver: Any, page: Path) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    def tree(driver: Any) -> list[tuple[str, str]]:
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        found = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]
        return found if any(role == "main" for role, _ in found) else []

    show(driver, page)
    named = WebDriverWait(driver, 30).until(tree)  # it is made after the page has loaded
    roles = {role for role, _ in named}

    assert {"banner", "main", "navigation", "heading", "table", "image"} & roles >= {"main", "navigation", "table"}
    assert {("heading", "Starting up"), ("DisclosureTriangle", "Starting up")} <= set(named)
    plots = [name for role, name in named if role in ("image", "img")]
    assert any("Speedup of every loop with its interval, on resnet" in name for name in plots)
    assert all(name for role, name in named if role in ("image", "img", "table", "region", "link", "button"))


def test_the_page_prints_whole_with_its_folds_closed(driver: Any, page: Path) -> None:
    show(driver, page)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    drawn = "document.querySelectorAll('svg.plot:not(.narrow), table')"
    whole = f"return [...{drawn}].every(one => one.getBoundingClientRect().height)"

    assert open_folds(driver) == []
    assert driver.execute_script(whole)
    assert len(driver.execute_cdp_cmd("Page.printToPDF", {})["data"]) > 10_000


@pytest.mark.parametrize("width", [390, 1200])
def test_a_key_enlarges_the_course_of_many_runs_and_its_box_scrolls(driver: Any, course: Path, width: int) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(driver, course, width=width)
    sizes = "const b = document.querySelector('figure .scroll'); return [b.scrollWidth, b.clientWidth, b.scrollLeft]"
    before, _, _ = driver.execute_script(sizes)
    zoom = driver.find_element(By.CSS_SELECTOR, "figure input[type=range]")
    assert zoom.accessible_name.strip() == "Zoom"
    zoom.send_keys(Keys.END)
    after, room, left = driver.execute_script(sizes)

    assert after > max(7 * room, before)
    assert left + room / 2 == pytest.approx(after / 2, rel=0.05)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    heights = (
        "const b = document.querySelector('figure .scroll'); return [b.clientHeight, b.scrollHeight, b.clientWidth]"
    )
    shown, whole, wide = driver.execute_script(heights)
    assert shown == whole  # paper cannot scroll
    assert wide == driver.execute_script(sizes)[0]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    zoom.send_keys(Keys.HOME)
    assert driver.execute_script(sizes)[0] == before
    assert driver.get_log("browser") == []
