from narrows.report.markup import Html, h, join


def test_text_is_escaped_and_markup_is_not():
    assert h("p", "a < b & c", h("b", '"x"')) == "<p>a &lt; b &amp; c<b>&quot;x&quot;</b></p>"
    assert join("<", Html("<i>")) == "&lt;<i>"


def test_attributes():
    assert h("img", src='"><script>') == '<img src="&quot;&gt;&lt;script&gt;">'
    assert h("th", class_="a", aria_sort="none", hidden=True, title=None, open=False) == (
        '<th class="a" aria-sort="none" hidden></th>'
    )
    assert h("path", x=1.0, y=2.345) == '<path x="1" y="2.35"></path>'
