from tests.values import loose_dataclasses


def test_values_never_change_and_fields_are_named() -> None:
    assert loose_dataclasses("robots") == []
