from tests.values import loose_dataclasses


def test_values_never_change_and_fields_are_named() -> None:
    stateful = ["arms.environment.ArmEnvironment", "arms.testing.IdealArm"]  # an arm under control, and a simulated one
    assert loose_dataclasses("robots") == [f"inspire_fast.robots.{name}" for name in stateful]
