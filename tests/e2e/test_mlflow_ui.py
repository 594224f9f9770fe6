"""What a newcomer finds in the MLflow UI."""

from mlflow.tracking import MlflowClient


def study_of(home, name):
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`initlab.study` = '{name}' AND tags.`initlab.kind` = 'study'")
    return run


def test_the_studys_run_tells_its_story(context, home, ui, shoot):
    run = study_of(home, "schemes")
    page = context.new_page()
    page.goto(f"{ui}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    page.get_by_text("Searched:").wait_for(timeout=60_000)
    picture = page.locator("img[src*='phase-diagram.png']")
    picture.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector(\"img[src*='phase-diagram.png']\").naturalWidth > 100")
    shoot(page, "mlflow-study")


def test_the_report_opens_inside_the_ui(context, home, ui, shoot):
    run = study_of(home, "schemes")
    page = context.new_page()
    page.goto(f"{ui}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}/artifacts/report.html")
    frame = page.frame_locator("iframe")
    frame.locator("#maps .plot .main-svg").first.wait_for(timeout=60_000)
    link = frame.locator("#best a[data-run]").first
    assert link.get_attribute("href").startswith(ui)
    shoot(page, "mlflow-report")


def test_a_thousand_runs_are_listed_with_the_columns_that_matter(context, home, ui, shoot):
    run = study_of(home, "thousand")
    page = context.new_page()
    page.goto(f"{ui}/#/experiments/{run.info.experiment_id}/runs?viewStateShareKey=thousand")
    page.get_by_text("search/objective").first.wait_for(timeout=60_000)
    page.get_by_text("redundancy/effective_width").first.wait_for()
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    trials = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    (best,) = client.search_runs(
        [run.info.experiment_id], trials, order_by=["metrics.`search/objective` DESC"], max_results=1
    )
    page.get_by_text(best.info.run_name).first.wait_for()  # among the first rows, as the best come first
    shoot(page, "mlflow-runs")
