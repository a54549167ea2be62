"""The chat page as a person uses it, and a watch over what it must not do."""

from contextlib import suppress

from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, Request, Route, TimeoutError, expect


class Chat:
    """One tab. Selectors are Chainlit's fixed ids and our cards' test ids."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def enter(self, link: str) -> "Chat":
        """Open a sign-in link and wait for the composer."""
        self.page.goto(link)
        return self.ready()

    def ready(self) -> "Chat":
        """Wait until something can be typed."""
        self.page.wait_for_selector("#chat-input")
        return self

    def say(self, text: str, attach: FilePayload | None = None) -> None:
        """Type a message and send it; what is sent before the socket is up is lost, so wait for the button and for the message."""
        before = self.page.locator("[data-step-type=user_message]").count()
        self.page.locator("#chat-input").click()
        self.page.keyboard.type(text)
        send = self.page.locator("#chat-submit:not([disabled])")
        send.wait_for()
        if attach is not None:
            self._attach(attach)
        send.click()
        expect(self.page.locator("[data-step-type=user_message]")).to_have_count(before + 1)

    def _attach(self, file: FilePayload) -> None:
        """Give the page a file; one that comes while Chainlit makes its first screen anew is lost without a request, so give it again."""
        shown = self.page.get_by_text(file["name"]).first
        for _ in range(4):
            self.page.locator("input[type=file]").first.set_input_files(file)
            with suppress(TimeoutError):
                shown.wait_for(timeout=5_000)
                return
        shown.wait_for()

    def find(self, test_id: str) -> Locator:
        """Every control with that test id."""
        return self.page.get_by_test_id(test_id)

    def status(self, status: str, timeout: float | None = None) -> None:
        """Wait until the one plan card has that status."""
        expect(self.find("plan-card")).to_have_attribute("data-status", status, timeout=timeout)

    def reload(self) -> None:
        """Reload the page; the address names the thread."""
        self.page.reload()
        self.ready()


class Watchman:
    """Blocks other hosts in one browser profile and notes whatever went wrong on its pages."""

    def __init__(self, context: BrowserContext, own: str) -> None:
        self.context, self.own = context, own
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ("net::ERR_", "WebSocket connection", "Failed to fetch")
        """Parts of console errors that a test brings about: by default the network's, while a server is killed."""
        context.route(lambda url: not url.startswith((own, "data:", "blob:")), self._foreign)
        context.on("page", self._watch)

    def unexpected(self) -> list[str]:
        """What should not have happened."""
        return [each for each in self.wrong if each.startswith("asked") or not any(part in each for part in self.expected)]

    def _foreign(self, route: Route, request: Request) -> None:
        self.wrong.append(f"asked another host: {request.url}")
        route.abort()

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"error on the page: {error}"))
        page.on("console", lambda message: self.wrong.append(f"console: {message.text}") if message.type == "error" else None)
