"""Asking the sign-in endpoints as a page's form and as a program does, with a browser's memory for cookies."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.conftest import House, Reply, cookie_header

NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


# How a provider sends a browser back.
RETURNING = NAVIGATION | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}


@dataclass
class Browser:
    """Keeps cookies as a browser does; follows no redirect by itself."""

    house: House
    cookies: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str, headers: dict[str, str] = NAVIGATION) -> Reply:
        return self._kept(await self.house.get(path, headers=headers | cookie_header(self.cookies)))

    async def post(self, path: str, **fields: str) -> Reply:
        """A page's form."""
        headers = NAVIGATION | {"Origin": "http://app.example.com"} | cookie_header(self.cookies)
        return self._kept(await self.house.send("POST", f"/.auth/{path}", data=fields, headers=headers))

    async def tell(self, path: str, **fields: str) -> Reply:
        """A program, or a page's script."""
        return self._kept(
            await self.house.send("POST", f"/.auth/{path}", json=fields, headers=cookie_header(self.cookies))
        )

    def _kept(self, reply: Reply) -> Reply:
        for line in reply.headers.getall("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return reply

    @property
    def journeys(self) -> list[str]:
        return [name for name in self.cookies if name.startswith("gateway-journey-")]


def message_to(house: House, address: str) -> tuple[str, str, str]:
    """Code, link (path and query) and number of the newest message to somebody."""
    message = house.emulator.inbox.last(address)
    parts = urlsplit(message.link)
    return message.code, f"{parts.path}?{parts.query}" if message.link else "", message.link_id


def parameter(path: str, name: str) -> str:
    (value,) = parse_qs(urlsplit(path).query)[name]
    return value


async def consent(house: House, place: str, **decision: str) -> str:
    """Say yes on the pretend provider's page; the path that it sends the browser back to."""
    parts = urlsplit(place)
    (state,) = parse_qs(parts.query)["state"]
    form = {"state": state, "decision": "allow"} | decision
    async with house.http.post(
        f"{parts.scheme}://{parts.netloc}{parts.path}", data=form, allow_redirects=False
    ) as reply:
        back = urlsplit(reply.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == "http://app.example.com"
    return f"{back.path}?{back.query}"


async def left(browser: Browser, path: str = "/.auth/oauth/start?provider=google&rd=/deep?x=1") -> str:
    """Where the browser is sent."""
    reply = await browser.get(path)
    assert reply.status == 303, reply.text
    return reply.headers["Location"]
