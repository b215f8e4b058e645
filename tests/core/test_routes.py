"""Which route a request belongs to: by host, then by path from the left, then by method; and what cannot be a table."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Match, MethodMismatch, Route, Target, Upstream
from gateway.core.patterns import Rank, canonical_host, pattern_pieces
from gateway.core.routes import RouteTable, compile_or_flaws
from gateway.core.target import canonical

LEGACY = Upstream(name="legacy", authority="legacy")


def route(path: str, *methods: str, host: str = "", name: str = "") -> Route:
    return Route(
        id=name or f"{host}{path}",
        path=path,
        upstream=LEGACY,
        host=host,
        methods=frozenset(methods) if methods else None,
    )


def table(*routes: Route) -> RouteTable:
    compiled = compile_or_flaws(routes)
    assert isinstance(compiled, RouteTable), compiled
    return compiled


def target(path: str) -> Target:
    found = canonical(path.encode())
    assert isinstance(found, Target), path
    return found


def chosen(subject: RouteTable, path: str, host: str = "", method: str = "GET") -> str | None:
    """The path pattern (with its host) of the route that a request goes to; None for no route."""
    match = subject.match(host, method, target(path))
    assert not isinstance(match, MethodMismatch), match
    return match.route.id if match is not None else None


# --- paths ------------------------------------------------------------------------------------------------------------

PATHS = table(
    *map(
        route,
        [
            "/",
            "/a",
            "/a/",
            "/a/b",
            "/a/{x}",
            "/a/*/c",
            "/a/{x}/d",
            "/a/**",
            "/{x}/b",
            "/*/b/c",
            "/café",
            "/deep/{x}/**",
        ],
    )
)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        pytest.param("/", "/", id="the root alone"),
        pytest.param("/a", "/a", id="a literal rather than a rest of nothing"),
        pytest.param("/a/", "/a/", id="a trailing slash written out"),
        pytest.param("/a/b", "/a/b", id="a literal rather than a name"),
        pytest.param("/a/z", "/a/{x}", id="a name rather than the rest"),
        pytest.param("/a/z/c", "/a/*/c", id="back from the name to the star, which goes on with c"),
        pytest.param("/a/b/c", "/a/*/c", id="back from a literal that leads nowhere"),
        pytest.param("/a/z/d", "/a/{x}/d", id="a name that goes on"),
        pytest.param("/a/z/e", "/a/**", id="the rest where nothing else goes on"),
        pytest.param("/a/z/", "/a/**", id="the rest with a trailing slash"),
        pytest.param("/z/b", "/{x}/b", id="a name at the beginning"),
        pytest.param("/z/b/c", "/*/b/c", id="a star at the beginning"),
        pytest.param("/z/b/", None, id="one slash too many"),
        pytest.param("/A", None, id="another case"),
        pytest.param("/caf%C3%A9", "/café", id="a literal beyond ASCII, compared decoded"),
        pytest.param("/%61", "/a", id="an escaped plain letter"),
        pytest.param("/deep/q", "/deep/{x}/**", id="a rest of nothing after a name"),
        pytest.param("/deep", None, id="no segment for the name"),
        pytest.param("/deep/", None, id="an empty segment for the name"),
        pytest.param("/nothing", None, id="no route at all"),
    ],
)
def test_the_path_is_walked_from_the_left_the_most_particular_way_first(path: str, pattern: str | None) -> None:
    assert chosen(PATHS, path) == pattern


def test_a_rest_covers_its_own_beginning_with_and_without_a_slash() -> None:
    subject = table(route("/admin/**"))

    assert [chosen(subject, path) for path in ("/admin", "/admin/", "/admin/x/y", "/administrator", "/adm")] == [
        "/admin/**",
        "/admin/**",
        "/admin/**",
        None,
        None,
    ]


def test_a_rest_of_everything_covers_the_root() -> None:
    assert chosen(table(route("/**")), "/") == "/**"


def test_names_catch_decoded_segments() -> None:
    match = table(route("/t/{tenant}/docs/{doc}/**")).match("", "GET", target("/t/a%20b/docs/%C3%A9/x"))

    assert isinstance(match, Match)
    assert match.captures == {"tenant": "a b", "doc": "é"}


def test_one_place_may_have_two_names_and_each_route_its_own() -> None:
    subject = table(route("/t/{tenant}", "GET"), route("/t/{id}", "DELETE"))

    caught = [subject.match("", method, target("/t/acme")) for method in ("GET", "DELETE")]

    assert [match.captures for match in caught if isinstance(match, Match)] == [{"tenant": "acme"}, {"id": "acme"}]


# --- methods ----------------------------------------------------------------------------------------------------------


def test_get_brings_head_and_the_rest_is_told_in_order() -> None:
    subject = table(route("/x", "POST", "GET"))

    assert chosen(subject, "/x", method="HEAD") == "/x"
    assert subject.match("", "DELETE", target("/x")) == MethodMismatch(("GET", "HEAD", "POST"))


def test_methods_are_told_apart_by_case() -> None:
    assert isinstance(table(route("/x", "GET")).match("", "get", target("/x")), MethodMismatch)


def test_routes_of_one_pattern_share_out_the_methods() -> None:
    subject = table(route("/x/{a}", "GET", name="read"), route("/x/{b}", "POST", "PUT", name="write"))

    assert [chosen(subject, "/x/1", method=method) for method in ("HEAD", "PUT")] == ["read", "write"]
    assert subject.match("", "PATCH", target("/x/1")) == MethodMismatch(("GET", "HEAD", "POST", "PUT"))


def test_a_method_never_falls_through_to_a_wider_pattern() -> None:
    subject = table(route("/admin/**", "GET"), route("/**"), route("/admin/{x}", "PUT", host="app.example.com"))

    assert subject.match("", "POST", target("/admin/x")) == MethodMismatch(("GET", "HEAD"))
    assert subject.match("app.example.com", "GET", target("/admin/x")) == MethodMismatch(("PUT",))


# --- hosts ------------------------------------------------------------------------------------------------------------

HOSTS = table(
    route("/x", host="app.example.com"),
    route("/x", host="*.example.com"),
    route("/x", host="*.eu.example.com"),
    route("/y", host="*.example.com"),
    route("/x"),
    route("/z"),
    route("/**", host="[::1]"),
)


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        pytest.param("app.example.com", "/x", "app.example.com/x", id="the exact host first"),
        pytest.param("www.example.com", "/x", "*.example.com/x", id="then the suffix"),
        pytest.param("www.eu.example.com", "/x", "*.eu.example.com/x", id="the longer suffix before the shorter"),
        pytest.param("a.b.example.com", "/x", "*.example.com/x", id="a suffix of several labels' distance"),
        pytest.param("eu.example.com", "/x", "*.example.com/x", id="a suffix does not cover its own name"),
        pytest.param("example.com", "/x", "/x", id="nor the bare domain"),
        pytest.param("badexample.com", "/x", "/x", id="a suffix begins at a dot"),
        pytest.param("", "/x", "/x", id="no host at all"),
        pytest.param("app.example.com", "/y", "*.example.com/y", id="the suffix where the exact host has no such path"),
        pytest.param("www.eu.example.com", "/y", "*.example.com/y", id="the shorter suffix likewise"),
        pytest.param("app.example.com", "/z", "/z", id="no host where none with a host has such a path"),
        pytest.param("app.example.com", "/q", None, id="no route on any of them"),
        pytest.param("[::1]", "/q", "[::1]/**", id="an IPv6 address"),
        pytest.param("a." * 5000 + "example.com", "/x", "*.example.com/x", id="ten thousand labels"),
        pytest.param(".example.com", "/x", "/x", id="an empty label for the star"),
    ],
)
def test_the_host_chooses_before_the_path(host: str, path: str, expected: str | None) -> None:
    assert chosen(HOSTS, path, host) == expected


@pytest.mark.parametrize(
    ("written", "spelling"),
    [
        pytest.param("", "", id="none"),
        pytest.param("APP.Example.COM", "app.example.com", id="capitals"),
        pytest.param("app.example.com.", "app.example.com", id="a trailing dot"),
        pytest.param("*.Example.com", "*.example.com", id="a suffix"),
        pytest.param("my_app.internal", "my_app.internal", id="underscores"),
        pytest.param("localhost", "localhost", id="one label"),
        pytest.param("127.0.0.1", "127.0.0.1", id="an IPv4 address"),
        pytest.param("[0::1]", "[::1]", id="an IPv6 address"),
    ],
)
def test_t03_a_host_pattern_has_one_spelling(written: str, spelling: str) -> None:
    assert canonical_host(written) == spelling
    assert chosen(table(route("/x", host=written, name="it")), "/x", spelling.replace("*", "www")) == "it"


@pytest.mark.parametrize(
    ("written", "told"),
    [
        pytest.param("app.example.com:443", "without scheme, port and path", id="a port"),
        pytest.param("https://app.example.com", "without scheme, port and path", id="a scheme"),
        pytest.param("app.example.com/x", "without scheme, port and path", id="a path"),
        pytest.param("*", "star stands alone and first", id="a star and nothing else"),
        pytest.param("a.*.com", "star stands alone and first", id="a star in the middle"),
        pytest.param("*app.example.com", "star stands alone and first", id="a star beside letters"),
        pytest.param("café.example.com", "xn--", id="letters beyond ASCII"),
        pytest.param("a..com", "no host name", id="an empty label"),
        pytest.param("-a.com", "no host name", id="a dash first"),
        pytest.param("a b.com", "no host name", id="a blank"),
        pytest.param("a." * 200 + "com", "no host name", id="too long"),
        pytest.param("[::g]", "no IPv6 address", id="no address in brackets"),
    ],
)
def test_what_is_no_host_is_refused_with_a_remedy(written: str, told: str) -> None:
    flaws = compile_or_flaws([route("/x", host=written, name="it")])

    assert isinstance(flaws, tuple)
    assert len(flaws) == 1
    assert "'it'" in flaws[0].sentence
    assert told in flaws[0].sentence


# --- what cannot be a table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        pytest.param("x", "begins with a slash", id="no slash first"),
        pytest.param("", "begins with a slash", id="empty"),
        pytest.param("/a//b", "one slash", id="an empty segment"),
        pytest.param("/**/a", "only be the last segment", id="a rest in the middle"),
        pytest.param("/a*", "whole segment", id="a star beside letters"),
        pytest.param("/a{x}", "whole segment", id="a name beside letters"),
        pytest.param("/{}", "whole segment", id="an empty name"),
        pytest.param("/{1}", "whole segment", id="a name that begins with a digit"),
        pytest.param("/{x:[a-z]+}", "no regular expressions", id="a regular expression"),
        pytest.param("/{x}/{x}", "twice", id="one name twice"),
        pytest.param("/a?b", "no blanks", id="a query"),
        pytest.param("/a#b", "no blanks", id="a fragment"),
        pytest.param("/a b", "no blanks", id="a blank"),
        pytest.param("/a\\b", "backslashes", id="a backslash"),
        pytest.param("/a\nb", "controls", id="a line end"),
        pytest.param("/a%2Fb", "never match", id="an escaped slash"),
        pytest.param("/a%zz", "never match", id="a broken escape"),
        pytest.param("/a%FF", "never match", id="no UTF-8"),
        pytest.param("/../a", "never match", id="a dot segment"),
        pytest.param("/%2e%2e/a", "never match", id="an escaped dot segment"),
        pytest.param("/a;x", "never match", id="a semicolon"),
        pytest.param("/a" * 65, "at most 64", id="too many segments"),
    ],
)
def test_t01_a_pattern_that_could_never_match_is_refused(path: str, told: str) -> None:
    flaws = compile_or_flaws([route(path, name="odd")])

    assert isinstance(flaws, tuple)
    assert len(flaws) == 1
    assert "'odd'" in flaws[0].sentence
    assert told in flaws[0].sentence


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        pytest.param(route("/x", name="one"), route("/x", name="two"), "every method", id="both take all"),
        pytest.param(route("/x", "GET", name="one"), route("/x", name="two"), "GET", id="one takes all"),
        pytest.param(route("/x", name="one"), route("/x", "PUT", name="two"), "PUT", id="the first takes all"),
        pytest.param(route("/x", "GET", "PUT", name="one"), route("/x", "PUT", name="two"), "PUT", id="one in common"),
        pytest.param(route("/x", "GET", name="one"), route("/x", "HEAD", name="two"), "HEAD", id="HEAD comes with GET"),
        pytest.param(
            route("/{a}", name="one"), route("/{b}", name="two"), "one pattern", id="other names of one place"
        ),
        pytest.param(
            route("/%61", name="one"), route("/a", name="two"), "one pattern", id="other spellings of a literal"
        ),
        pytest.param(
            route("/x", host="A.example.com", name="one"),
            route("/x", host="a.example.com.", name="two"),
            "on a.example.com",
            id="other spellings of a host",
        ),
    ],
)
def test_a_tie_names_both_routes(first: Route, second: Route, told: str) -> None:
    flaws = compile_or_flaws([first, second])

    assert isinstance(flaws, tuple)
    assert len(flaws) == 1
    assert all(word in flaws[0].sentence for word in ("'one'", "'two'", told))


def test_an_id_stands_once() -> None:
    flaws = compile_or_flaws([route("/x", name="it"), route("/y", name="it")])

    assert isinstance(flaws, tuple)
    assert "'it'" in flaws[0].sentence


def test_every_problem_is_told() -> None:
    flaws = compile_or_flaws(
        [route("x", name="a"), route("/**/y", name="b"), route("/z", name="c"), route("/z", name="d")]
    )

    assert isinstance(flaws, tuple)
    assert len(flaws) == 3


def test_patterns_that_differ_only_in_their_kind_are_no_tie() -> None:
    assert len(table(*map(route, ["/{x}", "/*", "/**", "/x", "/x/**", "/"])).routes) == 6


# --- against a slow reading of the rules ------------------------------------------------------------------------------

_SEGMENT = st.sampled_from(["a", "b", "{n}", "*"])
_PATTERN = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]) if parts or end else "/",
    st.lists(_SEGMENT, max_size=4),
    st.sampled_from([[], ["**"], [""]]),
)
_HOST_PATTERNS = ["", "a.com", "*.com", "x.a.com", "*.a.com"]
_METHODS = st.sampled_from([None, frozenset({"GET"}), frozenset({"POST"}), frozenset({"GET", "PUT"})])
_PATH = st.builds(
    lambda parts, slash: "/" + "/".join(parts) + ("/" if slash and parts else ""),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=5),
    st.booleans(),
)


def _numbered(pattern: str) -> str:
    """Each name of a pattern its own, for a name may stand only once."""
    numbers = itertools.count()
    return "/".join(f"{{n{next(numbers)}}}" if part == "{n}" else part for part in pattern.split("/"))


def _host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    if pattern == "":
        return (2, 0)
    if pattern.startswith("*."):
        return (1, -len(pattern)) if host.endswith(pattern[1:]) and host != pattern[1:] else None
    return (0, 0) if pattern == host else None


def _path_rank(pattern: str, path: str) -> tuple[int, ...] | None:
    """How particular each segment is that the pattern matches, -1 where it ends with the path; None for no match."""
    wanted, given = pattern[1:].split("/"), path[1:].split("/")
    rank: list[int] = []
    for part in wanted:
        if part == "**":
            return (*rank, 3)
        if not given:
            return None
        segment = given.pop(0)
        if part == "*" or part.startswith("{"):
            if not segment:
                return None
            rank.append(2 if part == "*" else 1)
        elif part != segment:
            return None
        else:
            rank.append(0)
    return (*rank, -1) if not given else None


def _slow_match(routes: Sequence[Route], host: str, method: str, path: str) -> str | tuple[str, ...] | None:
    """The id of the route, the methods of a mismatch, or None; by comparing all that match."""
    ranked = [
        ((host_rank, path_rank), one)
        for one in routes
        if (host_rank := _host_rank(one.host, host)) is not None
        and (path_rank := _path_rank(one.path, path)) is not None
    ]
    if not ranked:
        return None
    best = min(rank for rank, _ in ranked)
    takers: dict[str, str] = {}
    for one in (one for rank, one in ranked if rank == best):
        if one.methods is None:
            return one.id
        takers |= dict.fromkeys({*one.methods, *(["HEAD"] if "GET" in one.methods else [])}, one.id)
    return takers.get(method) or tuple(sorted(takers))


@st.composite
def _tables(draw: st.DrawFn) -> list[Route]:
    """Routes without ties: what is drawn and would tie is left out."""
    routes: list[Route] = []
    drawn = draw(st.lists(st.tuples(_PATTERN, st.sampled_from(_HOST_PATTERNS), _METHODS), max_size=12))
    for number, (pattern, host, methods) in enumerate(drawn):
        one = Route(id=f"r{number}", path=_numbered(pattern), upstream=LEGACY, host=host, methods=methods)
        if isinstance(compile_or_flaws([*routes, one]), RouteTable):
            routes.append(one)
    return routes


@given(
    routes=_tables(),
    asked=st.lists(
        st.tuples(
            st.sampled_from(["", "com", "a.com", "x.a.com", "y.a.com", "b.com"]),
            st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"]),
            _PATH,
        ),
        min_size=1,
        max_size=12,
    ),
    seed=st.integers(0, 1000),
)
def test_matching_agrees_with_comparing_every_route_in_any_order(
    routes: list[Route], asked: list[tuple[str, str, str]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(routes, len(routes))
    subject = table(*shuffled)

    for host, method, path in asked:
        match = subject.match(host, method, target(path))
        found = match.route.id if isinstance(match, Match) else match.allow if match is not None else None
        assert found == _slow_match(routes, host, method, path), (host, method, path)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        pieces = pattern_pieces(f"/{text}")
    except ValueError:
        return

    assert len(pieces) == text.count("/") + 1
    assert Rank.REST not in [piece.rank for piece in pieces[:-1]]


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        host = canonical_host(text)
    except ValueError:
        return

    assert canonical_host(host) == host


# --- for people -------------------------------------------------------------------------------------------------------


def test_candidates_tell_who_won_who_lost_and_why() -> None:
    subject = table(
        route("/t/{tenant}/docs", name="docs"),
        route("/t/**", name="rest"),
        route("/t/acme/other", name="other"),
        route("/t/{tenant}/docs", host="app.example.com", name="elsewhere"),
        route("/far", name="far"),
        route("/t/{tenant}/docs/{doc}", name="longer"),
    )

    told = subject.candidates("www.example.com", target("/t/acme/docs"))

    assert [one.id for one, _ in told] == ["docs", "rest", "elsewhere", "other", "longer"]
    sentences = {one.id: sentence for one, sentence in told}
    assert sentences["docs"].startswith("chosen")
    assert "segment 2" in sentences["rest"]
    assert "'docs'" in sentences["rest"]
    assert "app.example.com" in sentences["elsewhere"]
    assert "segment 3 is 'docs', not 'other'" in sentences["other"]
    assert "the path ends" in sentences["longer"]


def test_candidates_tell_of_a_host_that_won() -> None:
    subject = table(route("/x", host="app.example.com", name="near"), route("/x", name="wide"))

    told = {one.id: sentence for one, sentence in subject.candidates("app.example.com", target("/x"))}

    assert "app.example.com" in told["wide"]
    assert "'near'" in told["wide"]


@pytest.mark.parametrize(
    ("pattern", "path", "sentence"),
    [
        pytest.param("/x/**", "/x", "ends with the path", id="a rest of nothing loses to the end"),
        pytest.param("/x/y", "/x", "the path ends where the pattern goes on with 'y'", id="a path that is too short"),
        pytest.param("/x", "/x/y", "the path goes on where the pattern ends", id="a path that is too long"),
        pytest.param("/x/{y}", "/x/", "segment 2 is empty", id="an empty segment for a name"),
    ],
)
def test_candidates_tell_where_the_path_parts_from_the_pattern(pattern: str, path: str, sentence: str) -> None:
    subject = table(route(path, name="won"), route(pattern, name="lost"))

    told = {one.id: sentence for one, sentence in subject.candidates("", target(path))}

    assert sentence in told["lost"]


def test_candidates_of_nothing_are_none() -> None:
    assert table(route("/x")).candidates("", target("/y")) == ()


def test_a_thousand_routes_are_walked_by_dictionaries() -> None:
    # Counted, not timed: a walk may ask each tree node it enters, never each route.
    subject = table(*(route(f"/service{n}/items/{{id}}/**") for n in range(1000)))
    asked = 0

    class Counting(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal asked
            asked += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    segments = tuple(map(Counting, ["service999", "items", "7", "x"]))
    match = subject.match("", "GET", Target("/service999/items/7/x", segments))

    assert isinstance(match, Match)
    assert match.route.id == "/service999/items/{id}/**"
    assert asked < 20


def test_a_name_goes_before_a_star_in_the_same_place() -> None:
    for patterns in (["/t/{x}", "/t/*"], ["/t/*", "/t/{x}"]):
        assert chosen(table(*map(route, patterns)), "/t/acme") == "/t/{x}"
