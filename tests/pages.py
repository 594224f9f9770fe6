"""Pages as a reader meets them: their text, and what each number says that it comes from."""

from html.parser import HTMLParser

VOID = ("meta", "link", "img", "input", "br")
SILENT = ("script", "style", "code", "pre")


class Page(HTMLParser):
    """A page.

    Attributes:
        numbers: ``(attributes, text)`` of those that are marked. links: attributes and text of those to runs.
        text: all of it. plain: the text that is neither marked, nor a link to a run, nor code, nor of where it
            comes from; what is read aloud in place of pictures among it.
        figures: the JSON of each interactive figure, by name.
    """

    def __init__(self, html):
        super().__init__()
        self.numbers, self.links, self.text, self.plain, self.figures = [], [], [], [], {}
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.plain += [attributes[name] for name in ("alt", "aria-label") if name in attributes]
        if tag not in VOID:
            self._open.append((tag, attributes))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        self.text.append(data)
        tag, own = self._open[-1] if self._open else ("", {})
        if tag == "span" and own.get("class") == "n":
            self.numbers.append((own, data))
            self.plain.append(" ")
        elif tag == "a" and "data-run" in own:
            self.links.append((own, data))
            self.plain.append(" ")
        elif tag == "script" and own.get("type") == "application/json":
            self.figures[own["data-name"]] = data
        elif not any(name in SILENT or of.get("id") == "source" for name, of in self._open):
            self.plain.append(data)
