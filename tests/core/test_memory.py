"""What is remembered, for how long, and that it never grows."""

from gateway.core.memory import Memory, Sightings


def test_what_was_kept_is_found() -> None:
    memory: Memory[str, int] = Memory()

    memory.keep("a", 1, 10, now_s=0.0)

    assert (memory.get("a", 1.0), memory.get("b", 1.0)) == (1, None)


def test_what_is_asked_for_stays_and_what_is_not_goes() -> None:
    memory: Memory[str, int] = Memory(lasting_s=60.0)
    memory.get("", 0.0)
    memory.keep("asked for", 1, 10, now_s=0.0)
    memory.keep("left alone", 2, 10, now_s=0.0)

    kept = [memory.get("asked for", now_s) for now_s in (50.0, 70.0, 130.0, 190.0)]

    assert kept == [1, 1, 1, 1]
    assert memory.get("left alone", 191.0) is None
    assert len(memory) == 1


def test_nothing_outlives_two_lifetimes_without_a_question() -> None:
    memory: Memory[str, int] = Memory(lasting_s=60.0)
    memory.get("", 0.0)
    memory.keep("a", 1, 10, now_s=0.0)

    assert memory.get("a", 121.0) is None
    assert len(memory) == 0


def test_t18_the_number_of_values_is_bounded() -> None:
    memory: Memory[int, int] = Memory(most=10)

    for number in range(1_000):
        memory.keep(number, number, 1, now_s=0.0)

    assert len(memory) <= 20
    assert memory.get(999, 0.0) == 999


def test_t18_the_size_of_values_is_bounded() -> None:
    memory: Memory[int, bytes] = Memory(most_bytes=1_000)

    for number in range(100):
        memory.keep(number, b"x", 300, now_s=0.0)
    memory.keep(-1, b"too large", 1_001, now_s=0.0)

    assert len(memory) <= 6
    assert memory.get(-1, 0.0) is None


def test_t18_what_moves_back_from_the_older_generation_counts_again() -> None:
    memory: Memory[int, bytes] = Memory(most_bytes=1_000)
    for number in range(4):
        memory.keep(number, b"x", 300, now_s=0.0)

    found = [number for number in range(4) if memory.get(number, 0.0) is not None]
    memory.keep(9, b"x", 300, now_s=0.0)

    assert found == [0, 1, 2, 3]
    assert len(memory) <= 6
    assert memory._bytes <= 1_300


# --- sightings --------------------------------------------------------------------------------------------------------


def test_a_key_came_before_from_its_second_time_on() -> None:
    seen = Sightings()

    assert [seen.again(b"a") for _ in range(3)] == [False, True, True]


def test_few_keys_are_taken_for_others() -> None:
    seen = Sightings(most=1_000)

    mistaken = sum(seen.again(number * 7_919) for number in range(1_000))

    assert mistaken <= 200


def test_t18_however_many_keys_come_they_take_the_same_room() -> None:
    seen = Sightings(most=100)
    room = len(seen._marks)

    for number in range(10_000):
        seen.again(f"key {number}")

    assert len(seen._marks) == room
    assert sum(seen._marks) <= 100
