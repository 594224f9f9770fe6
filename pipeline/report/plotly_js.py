"""plotly.js as scripts of a page, cut so that a browser is through with it sooner."""

import re

from plotly.offline import get_plotlyjs

__all__ = ["plotly_scripts"]

# Licence; a wrapper for other ways to load it; the library, which is one function that is called on the spot.
WHOLE = re.compile(
    r"\s*(?P<licence>/\*\*.*?\*/)\s*\(\s*function\(root, factory\).*?\(typeof self[^{]*\{\s*"
    r'"use strict";(?P<library>var Plotly=\(\(\)=>\{.*\}\)\(\);.*?)'
    r"\s*window\.Plotly = Plotly;\s*return Plotly;\s*\}\)\);\s*",
    re.DOTALL,
)
BEGINNING = re.compile(r"return (\w+)\(\);\}\)\(\);")


def plotly_scripts(text: str | None = None) -> tuple[str, ...]:
    """What is to stand in one ``<script>`` each, in this order; then ``Plotly`` is there.

    V8 reads a function twice that is handed over as an argument, as the library is to the
    wrapper around it (4.8 MB: a quarter of a second). And for each error that is thrown it may
    read every function again that is being executed, to tell the lines; plotly's modules throw
    some to find out what the browser can do, within a function of 4.8 MB (half a second). So the
    wrapper is left out, and the modules are begun when that function has returned.

    Args:
        text: plotly.min.js; None: as plotly brings it. One that is built otherwise is left whole.
    """
    text = get_plotlyjs() if text is None else text
    whole = WHOLE.fullmatch(text)
    library, begun = BEGINNING.subn(r"return \1;})();", whole["library"]) if whole else ("", 0)
    if whole is None or begun != 1:
        return (text,)
    return f'{whole["licence"]}\n"use strict";{library}', "Plotly = Plotly();"
