"""The explorer within this process: a real record, real templates, no port."""

import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

from starlette.testclient import TestClient

from assay.explorer import Access, Index, make_app
from assay.explorer.sources.record import ExplorerRequest, open_source
from assay.settings.sections import Settings
from tests.explorer.api_types import check_document

#: For tests: how many requests they send in a second depends on the machine. Tests of the limit
#: have one of their own.
UNLIMITED = Access(rate=1e9)
ADDRESS = "http://127.0.0.1:8400"


class Inside:
    """An explorer that was not started: what its record holds was read once."""

    def __init__(self, client, indexer, index, source, events, rollouts):
        self.client, self.indexer, self.index = client, indexer, index
        self.source, self.events, self.rollouts = source, events, rollouts

    def get(self, path, **headers):
        answer = self.client.get(path, headers={"accept": "text/html", **headers})
        is_json = answer.headers.get("content-type") == "application/json"
        if answer.status_code == 200 and is_json:
            check_document(path, answer.json())
        return answer

    def answer_instead(self, **answers):
        """Its sources, with a few changed answers."""
        fixed = {name: partial(lambda answer, *_: answer, one) for name, one in answers.items()}
        return replace(self.source.sources, **fixed)

    def get_json(self, path):
        answer = self.get(path, accept="application/json")
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.json()


@contextmanager
def look_into(folder, index=None, ledger=None, access=UNLIMITED, **settings):
    """An explorer over a run's folder."""
    with ExitStack() as stack:
        if index is None:
            scratch = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="assay-", ignore_cleanup_errors=True)
            )
            index = Path(scratch) / "index.sqlite"
        sections = {} if ledger is None else {"ledger": ledger}
        asked = ExplorerRequest(Settings(explorer={"dir": folder, **settings}, **sections), None)
        source = open_source(asked, stack, lambda: None, lambda lack: None)
        subject = source.subject
        kept = Index(index, subject.validator, subject.history.first.digest)
        stack.callback(kept.close)
        app, events, indexer, rollouts = make_app(subject, kept, source.sources, access=access)
        indexer.step()
        if rollouts is not None:
            stack.callback(rollouts.stop)
        client = stack.enter_context(TestClient(app, base_url=ADDRESS))
        yield Inside(client, indexer, kept, source, events, rollouts)


@contextmanager
def browse(inside, chromium):
    """A browser's page over this explorer, under the policies that it sends, and all that the page
    says: a console's lines, dialogs, errors. Nothing listens for changes."""
    said = []
    context = chromium.new_context(base_url=ADDRESS)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("pageerror", lambda error: said.append(str(error)))

    def fulfil(route):
        url = route.request.url.removeprefix(ADDRESS)
        if url == "/events":
            route.abort()
            return
        answer = inside.get(url)
        route.fulfill(status=answer.status_code, headers=dict(answer.headers), body=answer.content)

    page.route("**/*", fulfil)
    yield page, said
    context.close()
    said[:] = [line for line in said if "events" not in line and "ERR_FAILED" not in line]


def wait_for_course(get_json):
    """The document of `/watch`, once the helper that reads the course has started and answered."""
    ends = time.monotonic() + 400
    while time.monotonic() < ends:
        document = get_json("/watch.json")
        if document["lack"] is None or not document["lack"]["passing"]:
            return document
    raise AssertionError("the course was not read in time")


class Page(HTMLParser):
    """The page as a browser sees it: elements with their attributes, numbers, text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.values, self.text = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "data":
            self.values.append(dict(attributes)["value"])

    def handle_data(self, data):
        self.text.append(data)


def list_numbers(document):
    """Every number of a JSON document, written as pages write it."""
    if isinstance(document, dict):
        return [n for value in document.values() for n in list_numbers(value)]
    if isinstance(document, list):
        return [n for value in document for n in list_numbers(value)]
    return [] if isinstance(document, bool | str | None) else [str(document)]


def wait_for_figures(inside, page):
    """The page's document with steps' figures: a first visit waits for none of their files."""
    for _ in range(600):
        document = inside.get(page).json()
        curves = {curve["name"]: curve["series"] for curve in document["curves"]}
        if any(one["run"] == "this run" for one in curves.get("step-reward", ())):
            return document
        time.sleep(0.1)
    raise AssertionError("no figure of a step has come in a minute")
