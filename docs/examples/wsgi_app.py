from urllib.parse import parse_qs

from flask_clustertoken import ClusterTokenMiddleware


def site(environ, start_response):
    request_token = environ["clustertoken"]
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]

    if path == "/login" and method == "POST":
        since = request_token.begin()
        form = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
        if not check_password(form):
            return answer(start_response, "403 Forbidden", "Wrong name or password.")
        request_token.login(form["name"][0], since=since)
        return answer(start_response, "200 OK", "Welcome.")

    if path == "/logout" and method == "POST":
        request_token.logout()
        return answer(start_response, "200 OK", "Goodbye.")

    if path == "/public":
        return answer(start_response, "200 OK", "Nobody looked.")

    if path == "/poll":
        request_token.policy(slide=False)  # does not keep the login alive

    token = request_token.token  # the first look
    if token:
        return answer(start_response, "200 OK", f"Hello, {token.subject}.")
    if token.reason == "stale":
        return answer(start_response, "503 Service Unavailable", "Please try again.")
    return answer(start_response, "401 Unauthorized", f"Please log in: {token.reason}.")


def answer(start_response, status, text):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode()]


def check_password(form):
    return form.get("name") == form.get("password")  # yours is a real check


def make_application(**settings):
    return ClusterTokenMiddleware(site, **settings)


def try_it():
    from pathlib import Path

    from werkzeug.test import Client

    application = make_application(store=f"directory:{Path.cwd()}/shared")
    client = Client(application)
    assert client.get("/").status_code == 401
    assert client.get("/public").text == "Nobody looked."
    bad = client.post("/login", data={"name": "alice", "password": "guess"})
    assert bad.status_code == 403
    client.post("/login", data={"name": "alice", "password": "alice"})
    assert client.get("/").text == client.get("/poll").text == "Hello, alice."
    client.post("/logout")
    assert client.get("/").status_code == 401
    assert Path("token_secret").exists()
    application.authority.close()
