"""A page that gets changes pushed: a limited number of streams, and none that outlives the
server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from assay.explorer.routes import _FULL, STREAMS_PER_CLIENT, Events


def test_streams_are_bounded_and_end_with_the_server():
    async def play():
        events = Events()
        events.bind()

        class Asked:
            method = "GET"
            client = type("Client", (), {"host": "10.0.0.1"})

        streams = []
        # all ask before the first is answered
        answers = [await events.serve(Asked()) for _ in range(STREAMS_PER_CLIENT + 4)]
        codes = [answer.status_code for answer in answers]
        assert codes == [200] * STREAMS_PER_CLIENT + [503] * 4
        for answer in answers[:STREAMS_PER_CLIENT]:
            body = answer.body_iterator
            assert await anext(body) == b"retry: 3000\n\n"
            streams.append(body)
        refused = await events.serve(type("Head", (Asked,), {"method": "HEAD"}))
        assert (refused.status_code, refused.headers["x-reason"]) == (503, _FULL)
        assert (await events.serve(Asked())).status_code == 503
        events.notify()
        assert (await anext(streams[0])).startswith(b"event: changed")
        await streams[0].aclose()
        assert (await events.serve(Asked())).status_code == 200
        events.close()
        for body in streams[1:]:
            async for _ in body:
                pass

    with ThreadPoolExecutor(1) as thread:  # the browser's loop may run in this one
        thread.submit(asyncio.run, asyncio.wait_for(play(), 30)).result()
