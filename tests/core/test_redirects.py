"""T-09: the way back after sign-in stays on this site."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.redirects import safe_return

PUBLIC = ("https://app.example.com",)


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%5cevil.example",
        "/%09//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/%0a/evil.example",
        "/./\\evil.example",
        "///evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https://evil.example",
        "https://app.example.com@evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com\\@evil.example",
        "javascript:alert(1)",
        "/%2f%2fevil.example",
        "/\u2215\u2215evil.example\u2215..",
        " //evil.example",
        "\x00//evil.example",
        "/..//evil.example",
        "/x/..//evil.example",
        "",
        "evil.example",
        "?x",
        "/a\r\nSet-Cookie: x=y",
    ],
)
def test_t09_a_doubtful_place_is_the_front_page(wanted: str) -> None:
    place = safe_return(wanted, PUBLIC)

    assert place == "/" or ("evil" in place and place.startswith("/%E2%88%95"))


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        pytest.param("/", "/", id="front page"),
        pytest.param("/a/b?x=1&y=%2F", "/a/b?x=1&y=%2F", id="deep link with query"),
        pytest.param("/caf%C3%A9", "/caf%C3%A9", id="escaped letters"),
        pytest.param("/café?q=é", "/caf%C3%A9?q=%C3%A9", id="letters as a form hands them on"),
        pytest.param("https://app.example.com/a?b", "/a?b", id="our own address"),
        pytest.param("https://app.example.com", "/", id="our own front page"),
        pytest.param("/a?next=//evil.example", "/a?next=//evil.example", id="a query is only a query"),
    ],
)
def test_a_place_on_this_site_is_kept(wanted: str, place: str) -> None:
    assert safe_return(wanted, PUBLIC) == place


@given(st.text(alphabet=st.sampled_from("/\\.:@?#%25cf09aevil\t\n\r \x00é\u2215;&=")) | st.text())
def test_t09_whatever_comes_the_result_stays_on_this_site(wanted: str) -> None:
    place = safe_return(wanted, PUBLIC)

    assert place.startswith("/")
    assert not place.startswith(("//", "/\\"))
    assert urlsplit(urljoin("https://app.example.com/.auth/login", place)).netloc == "app.example.com"
    assert all(" " < character < "\x7f" for character in place)
