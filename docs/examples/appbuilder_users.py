from flask import Flask
from flask_appbuilder import AppBuilder
from flask_appbuilder.models.sqla.base import SQLA
from flask_appbuilder.security.sqla.manager import SecurityManager
from flask_appbuilder.security.views import UserDBModelView

from flask_clustertoken import ClusterToken, current_token, token_required

app = Flask(__name__)
app.config.update(
    SECRET_KEY="for the session of Flask-AppBuilder",
    SQLALCHEMY_DATABASE_URI="sqlite://",
    CLUSTERTOKEN_STORE="memory:",
)
tokens = ClusterToken(app)


# -- Flask-AppBuilder: "Is Active?" locks and unlocks --
class Users(UserDBModelView):
    def post_update(self, user):  # behind the button "Save", and committed
        subject = str(user.id)
        if user.is_active:
            tokens.unlock(subject=subject)
        else:
            tokens.lock(subject=subject, message="This account is disabled.").confirm(timeout=15)


class Manager(SecurityManager):
    userdbmodelview = Users

    def on_user_login(self, user):
        tokens.login(str(user.id))


# -- end --
db = SQLA(app)
with app.app_context():
    AppBuilder(app, db.session, security_manager_class=Manager)


@app.get("/news")
@token_required
def news():
    return f"news for {current_token.subject}"


def try_it():
    import warnings

    # (Flask-AppBuilder's own pages have a session of their own, and the extension says so.)
    warnings.filterwarnings("ignore", "flask_login.login_user", UserWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # theirs
    app.config["WTF_CSRF_ENABLED"] = False  # there is no form here
    with app.app_context():
        manager = app.appbuilder.sm
        role = manager.find_role("Admin")
        for name in ("root", "alice"):
            manager.add_user(name, name, "X", f"{name}@example.org", role, "correct horse")
        alice = manager.find_user("alice").id

    def logged_in(name):
        client = app.test_client()
        sent = {"username": name, "password": "correct horse"}
        client.post("/login/", data=sent, base_url="https://localhost")
        return client

    def save(active):
        sent = {"username": "alice", "first_name": "alice", "last_name": "X", "active": active}
        sent |= {"email": "alice@example.org", "roles": "1"}
        answer = root.post(f"/users/edit/{alice}", data=sent, base_url="https://localhost")
        assert answer.status_code == 302, answer.text

    def answer(client):
        return client.get("/news", base_url="https://localhost").status_code

    def their_page(client):
        return client.get("/users/list/", base_url="https://localhost").status_code

    root, before = logged_in("root"), logged_in("alice")
    assert (answer(root), answer(before), their_page(before)) == (200, 200, 200)
    save(active="")
    assert their_page(before) == 302
    assert (answer(root), answer(before), answer(logged_in("alice"))) == (200, 403, 401)
    save(active="y")
    assert (answer(root), answer(before), answer(logged_in("alice"))) == (200, 401, 200)
