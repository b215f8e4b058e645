"""What waits for its proof is bounded and expires."""

from gateway.emulator.shelf import Shelf


def test_a_thing_is_there_until_it_expires() -> None:
    shelf: Shelf[str] = Shelf()
    shelf.put("a", "thing", expires_s=10.0, now_s=0.0)

    assert shelf.get("a", 9.9) == "thing"
    assert shelf.get("a", 10.0) is None
    assert shelf.get("b", 0.0) is None


def test_a_thing_is_taken_once() -> None:
    shelf: Shelf[str] = Shelf()
    shelf.put("a", "thing", expires_s=10.0, now_s=0.0)

    assert [shelf.take("a", 1.0), shelf.take("a", 1.0)] == ["thing", None]


def test_when_it_is_full_the_expired_go_and_then_the_oldest() -> None:
    shelf: Shelf[str] = Shelf(most=3)
    for name, expires_s in (("a", 100.0), ("b", 1.0), ("c", 100.0)):
        shelf.put(name, name, expires_s, now_s=0.0)

    shelf.put("d", "d", 100.0, now_s=2.0)
    assert [shelf.get(name, 2.0) for name in "abcd"] == ["a", None, "c", "d"]
    shelf.put("e", "e", 100.0, now_s=2.0)
    assert [shelf.get(name, 2.0) for name in "acde"] == [None, "c", "d", "e"]
    assert len(shelf) == 3
