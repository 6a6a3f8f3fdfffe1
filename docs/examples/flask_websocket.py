import threading

from flask import Flask

from flask_clustertoken import ClusterToken, require_token
from flask_clustertoken.extension.signals import revocation_applied

app = Flask(__name__)
app.config["CLUSTERTOKEN_STORE"] = "memory:"
tokens = ClusterToken(app)

# -- the open connections of this process --
lock = threading.Lock()
connections = {}  # connection → the token that opened it


def serve(connection):
    """Call this in the view of the handshake, with your library's connection object."""
    token = require_token()
    with lock:
        connections[connection] = token
    try:
        # Between the look and the entry above, a revocation may have been applied: look again.
        tokens_still_good = require_token(strict=True)
        while (message := connection.receive()) is not None:
            connection.send(f"{tokens_still_good.subject}: {message}")
    finally:
        with lock:
            connections.pop(connection, None)


@revocation_applied.connect_via(app)
def close_what_ended(sender, covers, **extra):
    with lock:
        ended = [one for one, token in connections.items() if covers(token)]
    for connection in ended:
        connection.close()


# -- end --
def try_it():
    import queue

    from flask_clustertoken.testing import TokenClient

    class Connection:
        def __init__(self):
            self.inbox, self.sent = queue.Queue(), queue.Queue()

        def receive(self):
            return self.inbox.get(timeout=10)

        def send(self, message):
            self.sent.put(message)

        def close(self):
            self.inbox.put(None)

    opened = {"alice": Connection(), "bob": Connection()}

    @app.get("/chat/<name>")
    def chat(name):
        serve(opened[name])
        return "closed"

    app.test_client_class = TokenClient
    clients = {name: app.test_client(subject=name) for name in opened}
    threads = [
        threading.Thread(target=clients[name].get, args=(f"/chat/{name}",)) for name in opened
    ]
    for thread in threads:
        thread.start()
    for name, connection in opened.items():
        connection.inbox.put("hi")
        assert connection.sent.get(timeout=10) == f"{name}: hi"
    with app.app_context():
        tokens.revoke_subject("alice")
    threads[0].join(10)
    assert not threads[0].is_alive()
    assert list(connections) == [opened["bob"]]
    opened["bob"].close()
    threads[1].join(10)
