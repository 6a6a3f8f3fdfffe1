import queue

from flask import Flask, Response, stream_with_context

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.extension import end_event

app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
tokens = ClusterToken(app)
news = {}  # subject → the queue that their page reads


# -- server-sent events --
@app.get("/news")
@token_required
def read_news():
    inbox = news[current_token.subject] = queue.Queue()

    @stream_with_context
    def events():
        with tokens.watching(current_token, on_end=lambda why: inbox.put(None)):
            while (item := inbox.get()) is not None:
                yield f"data: {item}\n\n"

    return Response(tokens.while_valid(events(), last=end_event), mimetype="text/event-stream")


# -- a download --
def rows():
    yield from (f"{number}\n" for number in range(100_000))


@app.get("/export")
@token_required
def export():
    return Response(tokens.while_valid(rows()), mimetype="text/csv")


# -- end --
def try_it():
    import threading

    from flask_clustertoken.testing import TokenClient

    app.test_client_class = TokenClient
    client = app.test_client(subject="alice")
    assert client.get("/export").text.count("\n") == 100_000
    got = []

    def read():
        got.extend(client.get("/news", buffered=False).response)

    reader = threading.Thread(target=read)
    with client.get("/export") as export:
        pieces = export.iter_encoded()
        assert next(pieces) == b"0\n"
        reader.start()
        while "alice" not in news:
            reader.join(0.01)
        news["alice"].put("hello")
        while not got:
            reader.join(0.01)
        with app.app_context():
            tokens.revoke_subject("alice")
        reader.join(30)
        assert not reader.is_alive()
        assert sum(1 for _ in pieces) < 99_999
    assert b"".join(got).decode() == "data: hello\n\nevent: end\ndata: revoked\n\n"
    assert client.get("/news").status_code == 401
