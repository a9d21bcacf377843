import pytest

from narrows.report.number_format import count, large, number


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0.000"), (0.9084, "0.908"), (-34.567, "-34.57"), (12345.6, "12346"), (2.5e-5, "2.5e-05"), (1e6, "1e+06")],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(19.0, "19"), (71_500_000, "71.5 M"), (2.1e9, "2.1 G"), (0.5, "0.5")])
def test_large(value, shown):
    assert large(value) == shown


def test_count():
    assert (count(1, "item"), count(0, "item")) == ("1 item", "0 items")
