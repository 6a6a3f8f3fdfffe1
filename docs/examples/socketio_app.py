from flask import Flask, request
from flask_socketio import SocketIO

from flask_clustertoken import ClusterToken, current_token

app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
socketio = SocketIO(app, async_mode="threading")
tokens = ClusterToken(app)  # behind SocketIO(app): its requests, too, come through us

# -- Socket.IO --
watches = {}  # the session's id → what watches its token


@socketio.on("connect")
def connect():
    if not current_token:
        return False
    sid = request.sid

    def end(why):
        socketio.emit("end", why.reason, to=sid)
        socketio.server.disconnect(sid)

    watches[sid] = tokens.watching(current_token, on_end=end)
    watches[sid].open()
    return True


@socketio.on("disconnect")
def disconnect(*reason):
    if (watch := watches.pop(request.sid, None)) is not None:
        watch.close()


@socketio.on("say")
def say(message):
    return f"{current_token.subject}: {message}"


# -- end --
def try_it():
    import threading

    import socketio as client_of
    from werkzeug.serving import make_server

    with app.app_context():
        authority = app.extensions["clustertoken"].authority
        texts = {name: authority.issue_login(name).text for name in ("alice", "bob")}
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = app.extensions["clustertoken"].middleware.cookie.name
    told, gone = [], {user: threading.Event() for user in texts}

    def connected(user):
        client = client_of.Client(handle_sigint=False, reconnection=False)
        client.on("end", lambda why: told.append((user, why)))
        client.on("disconnect", lambda *_: gone[user].set())
        client.connect(
            f"http://127.0.0.1:{server.port}",
            headers={"Cookie": f"{name}={texts[user]}"},
            transports=["websocket"],
            wait_timeout=30,
        )
        return client

    alice, bob = connected("alice"), connected("bob")
    assert alice.call("say", "hi", timeout=30) == "alice: hi"
    with app.app_context():
        tokens.revoke_subject("alice")
    assert gone["alice"].wait(30)
    assert told == [("alice", "revoked")]
    assert bob.call("say", "still here?", timeout=30) == "bob: still here?"
    assert len(watches) == 1
    bob.disconnect()
    alice.disconnect()
    assert gone["bob"].wait(30)
    server.shutdown()
    server.server_close()
