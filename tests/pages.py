"""A reader of the report's pages: the tree that a browser would see, and predictions to make pages of."""

from html.parser import HTMLParser

import numpy as np

from xent.evaluate import evaluate

VOID = {"input", "meta", "link", "br"}
NASTY = [
    "<script>alert(1)</script>",
    "\"onload='alert(1)' x=\"",
    "</title><img src=x onerror=alert(1)>",
    "&amp;",
    "naïve \x00",
]


class Element:
    def __init__(self, name, attributes, parent):
        self.name, self.attributes, self.parent, self.children = name, dict(attributes), parent, []

    def __getitem__(self, key):
        return self.attributes.get(key)

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, *names):
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += ([child] if not names or child.name in names else []) + child.all(*names)
        return found

    def above(self, name):
        return self if self.name == name or self.parent is None else self.parent.above(name)


class Reader(HTMLParser):
    """Builds the tree; every element must be closed by its own end."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.top = self.here = Element("top", (), None)
        self.feed(text)
        self.close()
        assert self.here is self.top, f"<{self.here.name}> is not closed"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice: {attrs}"
        element = Element(tag, attrs, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attrs):
        self.here.children.append(Element(tag, attrs, self.here))

    def handle_endtag(self, tag):
        assert tag == self.here.name, f"</{tag}> closes <{self.here.name}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def read(text):
    return Reader(text).top


def cells(table):
    """A table as rows of text, its heading among them."""
    return [[c.text for c in row.children] for row in table.all("tr")]


def binary(rows=500, seed=0, slope=1.5, **more):
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.3, 1.5, rows)
    y = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(int)
    p = 1 / (1 + np.exp(-slope * z))
    return y, p, evaluate(y, p, **more)


def several(names, rows=400, seed=0, **more):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(len(names), 0.5), rows)
    y = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return evaluate(np.array(names, dtype=object)[y], p, classes=names, **more)
