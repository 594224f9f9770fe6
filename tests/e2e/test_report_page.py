"""The report in chromium: opened, used, read by other means than eyes, followed to a run."""

import time

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from mlflow.tracking import MlflowClient


def report(home, study):
    return home / "mlruns" / "reports" / study / "report.html"


def opened(page, home, study):
    page.goto(report(home, study).as_uri())
    ready(page)
    return page


def ready(page):
    page.wait_for_selector("html[data-ready=true][data-drawn=true]")
    page.wait_for_selector(".plot .main-svg")


def serious(page):
    """Violations that axe-core calls serious or critical, in words."""
    found = Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {v['help']} {[node['target'] for node in v['nodes']][:3]}"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def test_the_switch_changes_what_the_map_shows(page, home, shoot):
    opened(page, home, "schemes")
    shoot(page, "report-light", whole=True)
    radios = page.locator(".switch input")
    assert radios.count() == 4
    box = page.locator("#maps .plot")

    def colours():
        return box.evaluate("b => JSON.stringify(b.data.find(t => t.mode === 'markers').marker.color)")

    seen = []
    for i in range(4):
        radios.nth(i).check()
        page.wait_for_timeout(100)
        seen.append(colours())
    assert len(set(seen)) == 4
    radios.nth(0).focus()
    page.keyboard.press("ArrowDown")  # works without a mouse
    page.wait_for_timeout(100)
    assert colours() == seen[1]
    shoot(page, "map-effective-width")


def test_a_point_is_followed_to_its_run(page, context, home, ui, shoot):
    opened(page, home, "schemes")
    box = page.locator("#maps .plot")
    run, _, shown = box.evaluate("b => b.data.find(t => t.mode === 'markers').customdata[3]")
    box.scroll_into_view_if_needed()
    point = page.locator("#maps .plot .scatterlayer .trace.scatter path.point").nth(3)
    with context.expect_page() as new:
        point.click(force=True)
    mlflow = new.value
    mlflow.wait_for_load_state()
    assert mlflow.url == f"{ui}/#/experiments/{experiment_of(home)}/runs/{run}"
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    stored = client.get_run(run)
    mlflow.get_by_text(stored.info.run_name).first.wait_for(timeout=60_000)
    assert shown == stored.data.metrics["val/accuracy"]
    shoot(mlflow, "mlflow-run")


def experiment_of(home):
    return MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db").get_experiment_by_name("initlab").experiment_id


def test_a_link_is_followed_by_keyboard(page, context, home, ui):
    opened(page, home, "schemes")
    link = page.locator("#best a[data-run]").first
    run = link.get_attribute("data-run")
    link.focus()
    with context.expect_page() as new:
        page.keyboard.press("Enter")
    assert new.value.url.endswith(f"/runs/{run}")


def test_numbers_shown_are_those_in_mlflow(page, home):
    opened(page, home, "schemes")
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    rows = page.locator("#best tbody tr")
    assert rows.count() == 6
    for row in rows.all():
        run = row.locator("a[data-run]").get_attribute("data-run")
        metrics = client.get_run(run).data.metrics
        for number in row.locator(".n").all():
            assert number.inner_text() == f"{metrics[number.get_attribute('data-metric')]:.3f}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(page, home, scheme, width, shoot):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 850})
    opened(page, home, "schemes")
    shoot(page, f"report-{scheme}-{width}", whole=True)
    assert serious(page) == []
    # Nothing but tables and code, which scroll by themselves, is wider than the page.
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["compare-schemes-thousand/compare.html", "answers/answers.html"])
def test_axe_finds_nothing_serious_on_other_pages(page, home, path, scheme, width, shoot):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 850})
    page.goto((home / "mlruns/reports" / path).as_uri())
    if path.startswith("compare"):
        ready(page)
    shoot(page, f"{path.partition('/')[0]}-{scheme}-{width}", whole=True)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_side_is_followed_to_its_run(page, context, home, ui):
    page.goto((home / "mlruns/reports/compare-schemes-thousand/compare.html").as_uri())
    ready(page)
    link = page.locator("header a[data-run]").nth(1)
    run = link.get_attribute("data-run")
    with context.expect_page() as new:
        link.click()
    new.value.get_by_text("thousand").first.wait_for(timeout=60_000)
    assert new.value.url == f"{ui}/#/experiments/{experiment_of(home)}/runs/{run}"


def test_it_prints_on_paper(page, home, shoot):
    opened(page, home, "schemes")
    page.emulate_media(media="print", color_scheme="light")
    page.wait_for_timeout(300)
    assert page.locator("nav").is_hidden()
    assert page.locator("#maps .plot .main-svg").first.is_visible()
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF")
    shoot(page, "report-print", whole=True)


def test_a_thousand_trials_are_ready_in_time(page, home, shoot):
    path = report(home, "thousand")
    assert path.stat().st_size <= 12e6
    started = time.perf_counter()
    page.goto(path.as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-ready=true]")
    page.wait_for_selector("#maps .plot .main-svg")
    seconds = time.perf_counter() - started
    print(f"\nreport of 1,000 trials: {path.stat().st_size / 1e6:.1f} MB, interactive after {seconds:.2f} s")
    page.locator(".switch input").nth(2).check()
    assert len(pd.read_csv(path.parent / "trials.csv").query("kind == 'trial'")) == 1000
    shoot(page, "report-thousand")
