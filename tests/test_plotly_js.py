"""plotly's file as scripts of a page: cut where it is the known one, whole where it isn't. Browsers run it in e2e."""

import pytest
from plotly.offline import get_plotlyjs

from pipeline.report.plotly_js import plotly_scripts

KNOWN = """/**
* plotly.js
*/
(
 function(root, factory) {
  root.moduleName = factory();
} (typeof self !== "undefined" ? self : this, () => {
"use strict";var Plotly=(()=>{var a=()=>{return b();};return a1();})();
/* others */

window.Plotly = Plotly;
return Plotly;
}));"""


def test_the_wrapper_goes_and_the_modules_begin_later():
    library, beginning = plotly_scripts(KNOWN)
    assert library == (
        '/**\n* plotly.js\n*/\n"use strict";var Plotly=(()=>{var a=()=>{return b();};return a1;})();\n/* others */'
    )
    assert beginning == "Plotly = Plotly();"


def test_the_installed_one_is_the_known_one():
    library, _ = plotly_scripts()
    whole = get_plotlyjs()
    assert len(whole) - 1000 < len(library) < len(whole)
    assert library.lstrip().startswith("/**\n* plotly.js v")


@pytest.mark.parametrize(
    "text",
    [
        "var Plotly = {};",
        KNOWN.replace("return a1();", "return a1;"),
        KNOWN.replace("return a1();", "var c=(()=>{return d();})();return a1();"),
        KNOWN + "\nmore();",
    ],
)
def test_another_build_is_left_whole(text):
    assert plotly_scripts(text) == (text,)
