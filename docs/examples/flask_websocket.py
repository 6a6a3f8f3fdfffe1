from flask import Flask
from flask_sock import Sock
from simple_websocket import ConnectionClosed

from flask_clustertoken import ClusterToken, current_token, require_token
from flask_clustertoken.extension import CLOSE_CODE

app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
tokens = ClusterToken(app)
sock = Sock(app)


# -- a socket --
@sock.route("/chat")
def chat(ws):
    require_token()
    with tokens.watching(current_token, on_end=lambda why: ws.close(CLOSE_CODE, why.reason)):
        try:
            while True:
                ws.send(f"{current_token.subject}: {ws.receive()}")
        except ConnectionClosed:
            pass


# -- end --
def try_it():
    import threading

    from simple_websocket import Client
    from werkzeug.serving import make_server

    with app.app_context():
        authority = app.extensions["clustertoken"].authority
        texts = {name: authority.issue_login(name).text for name in ("alice", "bob")}
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = app.extensions["clustertoken"].middleware.cookie.name

    def connect(user):
        return Client.connect(
            f"ws://127.0.0.1:{server.port}/chat", headers={"Cookie": f"{name}={texts[user]}"}
        )

    alice, bob = connect("alice"), connect("bob")
    for user, client in (("alice", alice), ("bob", bob)):
        client.send("hi")
        assert client.receive(timeout=30) == f"{user}: hi"
    with app.app_context():
        tokens.revoke_subject("alice")
    try:
        said = alice.receive(timeout=30)
    except ConnectionClosed as closed:
        said = (closed.reason, closed.message)
    assert said == (4401, "revoked")
    bob.send("still here?")
    assert bob.receive(timeout=30) == "bob: still here?"
    bob.close()
    server.shutdown()
    server.server_close()
