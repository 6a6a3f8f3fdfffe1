"""Fonts that a designer uploads once, and every server sends."""

from flask import Flask, request

from flask_clustertoken import ClusterToken, send_shared_file, token_required

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 20 * 1024 * 1024
tokens = ClusterToken(app)


@app.post("/fonts/<name>")
@token_required
def upload(name):
    sent = request.files["font"]
    info = tokens.files("fonts").put(name, sent.stream, "font/woff2")
    return {"size": info.size, "sha256": info.sha256}


@app.get("/fonts/<name>")
def font(name):
    return send_shared_file("fonts", name, inline=["font/woff2"], max_age=3600)


@app.get("/fonts")
def fonts():
    return {"fonts": list(tokens.files("fonts").keys())}


def try_it():
    from io import BytesIO

    app.config["TESTING"] = True
    client = app.test_client()
    content = bytes(range(256)) * 1000

    def form():
        return {"font": (BytesIO(content), "x.woff2")}

    assert client.post("/fonts/a.woff2", data=form()).status_code == 401
    with app.app_context():
        tokens.files("fonts").put("a.woff2", BytesIO(content), "font/woff2")
    assert client.get("/fonts").json == {"fonts": ["a.woff2"]}
    answer = client.get("/fonts/a.woff2")
    assert answer.data == content
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    asked = {"If-None-Match": answer.headers["ETag"]}
    assert client.get("/fonts/a.woff2", headers=asked).status_code == 304
    assert client.get("/fonts/a.woff2", headers={"Range": "bytes=0-3"}).data == content[:4]
    assert client.get("/fonts/b.woff2").status_code == 404
