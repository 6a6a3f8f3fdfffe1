"""Fonts that a designer uploads once, and every server sends."""

from flask import Flask, abort, request

from flask_clustertoken import ClusterToken, send_shared_file, token_required

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 20 * 1024 * 1024
tokens = ClusterToken(app)


@app.post("/fonts/<name>")
@token_required
def upload(name):
    sent = request.files["font"]
    try:
        info = tokens.files("fonts").put(name, sent.stream, "font/woff2")
    except ValueError as error:  # a name of more than 512 bytes
        abort(400, str(error))
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
    assert client.get("/fonts/" + "b" * 513).status_code == 404
    with app.app_context():
        text = tokens.issue_api_token("alice", "designer").text
    bearer = {"Authorization": f"Bearer {text}"}
    named = client.post("/fonts/b", data=form(), headers=bearer)
    assert named.status_code == 200, named.text
    refused = client.post("/fonts/" + "b" * 513, data=form(), headers=bearer)
    assert refused.status_code == 400
    assert "512" in refused.text
